"""The OpenAPI document: FastAPI's own, plus the errors that every operation can answer with."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from app.predictions.schemas import PredictionRequest
from app.problems import MEDIA_TYPE, Problem

_ERRORS = {
    400: "The request can't be read",
    401: "No valid API key",
    403: "The key lacks a scope",
    404: "Nothing here has this id, or it is another project's",
    409: "Not possible in the present state",
    412: "The resource has changed since If-Match",
    413: "The body is over its limit",
    422: "The request does not fit the schema",
    429: "The project's quota is used up",
    500: "Something went wrong on our side",
    503: "Not available right now; see Retry-After",
    507: "No storage left",
}
_ALWAYS = (401, 403, 422, 500, 503)
_WITH_BODY = (400, 409, 413, 429, 507)

_IDEMPOTENCY = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "A key of your choice: repeating the request with it does nothing twice and gets the same answer.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 200, "pattern": "^[!#-~]+$"},
}


def install(app: FastAPI) -> None:
    """Serve the completed document."""

    def build() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _complete(
                get_openapi(
                    title=app.title,
                    version=app.version,
                    description=app.description,
                    routes=app.routes,
                    tags=app.openapi_tags,
                )
            )
        return app.openapi_schema

    app.openapi = build  # type: ignore[method-assign]


def _complete(document: dict[str, Any]) -> dict[str, Any]:
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    schemas["PredictionRequest"] = PredictionRequest.model_json_schema()  # its route reads no body
    problem = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas.update(problem.pop("$defs", {}), Problem=problem)
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            if path.startswith("/v1"):
                _add_errors(operation, method, "{" in path)
    for noun in ("datasets", "jobs", "keys", "projects"):
        _add_links(document["paths"], f"/v1/{noun}")
    return document


def _add_links(paths: dict[str, Any], collection: str) -> None:
    """From the answer that makes an object to everything that can be done with it."""
    links = {}
    for path, methods in paths.items():
        if not path.startswith(collection + "/{"):
            continue
        parameter = path.split("{")[1].split("}")[0]
        for operation in methods.values():
            name = operation["operationId"]
            links[name] = {"operationId": name, "parameters": {parameter: "$response.body#/id"}}
    responses = paths[collection]["post"]["responses"]
    next(answer for status, answer in responses.items() if status in ("201", "202"))["links"] = links


def _add_errors(operation: dict[str, Any], method: str, has_id: bool) -> None:
    responses = operation["responses"]
    responses.pop("422", None)
    names = {parameter["name"].lower() for parameter in operation.get("parameters", ())}
    changes = method in ("post", "put", "patch", "delete")
    has_id = has_id or "task_id" in names
    statuses = [*_ALWAYS, *((404,) if has_id else ()), *(_WITH_BODY if changes else ())]
    statuses += [412] if "if-match" in names else []
    for status in statuses:
        responses.setdefault(
            str(status),
            {
                "description": _ERRORS[status],
                "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
            },
        )
    if method == "post" and "idempotency-key" not in names:
        operation.setdefault("parameters", []).append(_IDEMPOTENCY)
