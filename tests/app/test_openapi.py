"""The OpenAPI document: complete, with examples that hold, and true of the running service."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import jsonschema
import pytest
import uvicorn
from fastapi import FastAPI
from fastapi.testclient import TestClient

from app.settings import Settings

#: Examples an operation; CI takes few, the chaos run many.
EXAMPLES = int(os.environ.get("WARMSTART_SCHEMATHESIS_EXAMPLES", "20"))

# A body can fit its schema and still name a column that the dataset does not have.
_CONFIG = """
[checks.positive_data_acceptance]
expected-statuses = ["2xx", "304", "400", "404", "409", "412", "413", "416", "422", "429"]
[checks.negative_data_rejection]
expected-statuses = ["400", "401", "404", "405", "409", "413", "416", "422"]
[warnings]
enabled = false
"""


def _operations(document: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    return [(path, operation) for path, item in document["paths"].items() for operation in item.values()]


def test_every_v1_operation_declares_its_problems(app: FastAPI) -> None:
    document = app.openapi()
    assert document["openapi"].startswith("3.1")
    for path, operation in _operations(document):
        if path.startswith("/v1"):
            assert {"401", "403", "422", "500", "503"} <= operation["responses"].keys(), path
            assert operation["security"], path
            assert ("404" in operation["responses"]) == ("{" in path or path.endswith("similar")), path
            problem = operation["responses"]["401"]["content"]["application/problem+json"]["schema"]
            assert problem == {"$ref": "#/components/schemas/Problem"}


def test_every_operation_and_schema_is_described(app: FastAPI) -> None:
    document = app.openapi()
    for path, operation in _operations(document):
        assert operation.get("description"), path
    for name, schema in document["components"]["schemas"].items():
        assert schema.get("description") or "enum" in schema or name.startswith(("Page_", "Body_")), name


def test_every_json_body_has_an_example_that_fits(app: FastAPI) -> None:
    document = app.openapi()
    count = 0
    for path, operation in _operations(document):
        content = operation.get("requestBody", {}).get("content", {})
        if "application/json" not in content:
            continue
        schema = content["application/json"]["schema"]
        name = schema["$ref"].rpartition("/")[2]
        examples = document["components"]["schemas"][name].get("examples")
        assert examples, path
        for example in examples:
            jsonschema.validate(example, {**schema, "components": document["components"]})
            count += 1
    assert count >= 7


@pytest.fixture
def served(app: FastAPI) -> Iterator[str]:
    """The service on a real socket."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    host, port = server.servers[0].sockets[0].getsockname()
    yield f"http://{host}:{port}"
    server.should_exit = True
    thread.join(10)


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Short waits, so that streams and long polls end."""
    return settings.model_copy(update={"wait_max_s": 0.1, "sse_max_s": 0.2, "read_seconds": 10})


@pytest.fixture
def seeded(
    app: FastAPI, tenant: Any, make_dataset: Callable[..., UUID], client: TestClient, add_trial: Callable[..., None],
    add_model: Callable[..., UUID], change_job: Callable[..., None], golden: Path,
) -> dict[str, str]:  # fmt: skip
    """The dataset that the document's example names, and a model, so that not every call ends in 404."""
    example = app.openapi()["components"]["schemas"]["JobSpec"]["examples"][0]
    make_dataset(tenant.project_id, id=UUID(example["dataset_id"]))
    job_id = client.post("/v1/jobs", json=example, headers=tenant.write).json()["id"]
    add_trial(job_id, 0, 0.5)
    change_job(job_id, state="succeeded", reproducible=True)
    return {"model_id": str(add_model(job_id, (golden / "binary.zip").read_bytes()))}


@pytest.mark.timeout(600)  # a minute and a half alone, more than three beside other tests on a busy machine
def test_service_keeps_to_its_document_when_called_at_random(
    served: str, predictor: None, tenant: Any, seeded: dict[str, str], tmp_path: Path
) -> None:
    config = tmp_path / "schemathesis.toml"
    known = "".join(f'{name} = "{value}"\n' for name, value in seeded.items())
    config.write_text(f"[parameters]\n{known}{_CONFIG}")
    command = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(config), "run"]
    options = ["--checks=all", "--seed=1", f"--max-examples={EXAMPLES}", "--request-timeout=60", "--no-color"]
    key = ["-H", f"Authorization: {tenant.operator['Authorization']}"]
    done = subprocess.run(
        [*command, f"{served}/openapi.json", *options, *key], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr[-2000:]
