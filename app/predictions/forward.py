"""Requests to the predictors, over one pool of connections an API process."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import httpx

from app.errors import AppError, InvalidRequest, TooLarge, Unavailable

_ATTEMPTS = 2  # a restarted predictor breaks pooled connections; predicting twice changes nothing
_TIMEOUT = httpx.Timeout(120, connect=2, pool=10)
_DESCRIBE = httpx.Timeout(20, connect=2, pool=2)  # nobody waits longer for what is only nice to know
_LIMITS = httpx.Limits(max_connections=64, max_keepalive_connections=64, keepalive_expiry=60)
_ERRORS: Mapping[int, type[AppError]] = {413: TooLarge, 422: InvalidRequest, 503: Unavailable}


class BundleReplaced(Exception):
    """The predictor found nothing under the blob key: look the model up again."""


class PredictorClient:
    """Forwards bodies as they are."""

    def __init__(self, url: str | None) -> None:
        parts = urlsplit(url or "")
        socket = parts.path if parts.scheme == "unix" else None
        self._client = httpx.AsyncClient(
            transport=httpx.AsyncHTTPTransport(uds=socket, limits=_LIMITS),
            base_url="http://predictor" if socket else url or "",
            timeout=_TIMEOUT,
            trust_env=False,
        )
        self._is_configured = bool(url)

    async def predict(self, query: Mapping[str, str], body: bytes) -> bytes:
        """The predictor's answer to a client's body.

        Raises:
            InvalidRequest: the rows do not fit the model.
            TooLarge: too many rows.
            Unavailable: no predictor answers.
            BundleReplaced: nothing lies under the blob key.
        """
        answer = await self._post("/predict", query, body)
        if answer.status_code == 200:
            return answer.content
        if answer.status_code == 410:
            raise BundleReplaced
        raise _as_error(answer)

    async def describe(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """Metafeatures, constants and embedding of a task.

        Args:
            asked: `spec`, resolved; `columns` and `blob_key` of its dataset; how many `rows` have a target;
                `metamodel`, name and blob key of the embedding.

        Raises:
            AppError: nothing came of it.
        """
        answer = await self._post("/describe", {}, json.dumps(asked).encode(), attempts=1, timeout=_DESCRIBE)
        if answer.status_code != 200:
            raise _as_error(answer)
        found: dict[str, Any] = answer.json()
        return found

    async def _post(
        self,
        path: str,
        query: Mapping[str, str],
        body: bytes,
        *,
        attempts: int = _ATTEMPTS,
        timeout: httpx.Timeout = _TIMEOUT,
    ) -> httpx.Response:
        if not self._is_configured:
            raise Unavailable("No predictor is configured: set WARMSTART_PREDICTOR_URL.")
        for attempt in range(attempts):
            try:
                return await self._client.post(path, params=query, content=body, timeout=timeout)
            except (httpx.ConnectError, httpx.ReadError, httpx.WriteError, httpx.RemoteProtocolError) as error:
                if attempt == attempts - 1:
                    raise Unavailable("No predictor answers right now; try again.") from error
            except httpx.TimeoutException as error:
                raise Unavailable("The predictors are overloaded; try again.") from error
        raise AssertionError("unreachable")

    async def close(self) -> None:
        """Close the pool."""
        await self._client.aclose()


def _as_error(answer: httpx.Response) -> AppError:
    if answer.status_code == 413 and not answer.headers["content-type"].startswith("application/json"):
        return TooLarge("The body is over its limit.")
    kind = _ERRORS.get(answer.status_code)
    if kind is None:
        return AppError("The predictor failed; the log says why.", code="prediction_failed")
    problem = answer.json()
    return kind(problem["detail"], errors=problem["errors"], code=problem["code"])
