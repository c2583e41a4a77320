"""The Python client of the HTTP API. The command line, the demo and the benchmarks use it too."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import httpx

Json = dict[str, Any]

_TERMINAL = frozenset({"succeeded", "failed", "cancelled"})
_TRANSIENT = frozenset({409, 502, 503, 504})
_TRIES = 6
_WAIT_S = 20


class ClientError(Exception):
    """The service refused. `status`, `code` and `errors` are those of its problem+json."""

    def __init__(self, status: int, problem: Mapping[str, Any]) -> None:
        self.status = status
        self.code = str(problem.get("code", "unknown"))
        self.detail = str(problem.get("detail") or problem.get("title") or f"HTTP {status}")
        self.errors: Sequence[Mapping[str, str]] = problem.get("errors") or ()
        parts = [f"{item.get('pointer') or item.get('parameter')}: {item['detail']}" for item in self.errors]
        super().__init__("; ".join([self.detail, *(part for part in parts if part not in self.detail)]))


class Client:
    """One service, one key. POSTs carry an Idempotency-Key, so that repeating one after a lost answer is safe.

    Args:
        url: such as http://127.0.0.1:8765.
        key: an API key.
        timeout_s: of one request.
    """

    def __init__(self, url: str, key: str, *, timeout_s: float = 60.0) -> None:
        self._http = httpx.Client(
            base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=httpx.Timeout(timeout_s, connect=5.0)
        )

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close every connection."""
        self._http.close()

    # Datasets

    def upload(self, content: bytes | Iterator[bytes] | Path, *, name: str) -> Json:
        """Post a table; the dataset. A path is streamed, and so is an iterator (which can't be sent a second time)."""
        headers = {"Content-Type": "application/octet-stream", "Content-Disposition": disposition(name)}
        options: Json = {"params": {"name": name}, "headers": headers, "timeout": httpx.Timeout(600, connect=5)}
        if isinstance(content, Path):
            return self._json("POST", "/v1/datasets", make_content=lambda: _chunks(content), **options)
        if isinstance(content, bytes):
            return self._json("POST", "/v1/datasets", make_content=lambda: content, **options)
        return _decoded(self._http.request("POST", "/v1/datasets", content=content, **options))

    def dataset(self, dataset_id: str) -> Json:
        """A dataset."""
        return self._json("GET", f"/v1/datasets/{dataset_id}")

    def datasets(self) -> Iterator[Json]:
        """All datasets, newest first."""
        return self._pages("/v1/datasets")

    # Jobs

    def create_job(self, spec: Mapping[str, Any]) -> Json:
        """Queue a job."""
        return self._json("POST", "/v1/jobs", json=dict(spec))

    def validate(self, spec: Mapping[str, Any]) -> Json:
        """What a spec would do, without doing it."""
        return self._json("POST", "/v1/jobs:validate", json=dict(spec))

    def job(self, job_id: str) -> Json:
        """A job."""
        return self._json("GET", f"/v1/jobs/{job_id}")

    def jobs(self, **filters: Any) -> Iterator[Json]:
        """Jobs, newest first."""
        return self._pages("/v1/jobs", **filters)

    def wait(self, job_id: str, on_change: Callable[[Json], None] | None = None) -> Json:
        """Long-poll until the job has ended; the job. `on_change` sees each version on the way."""
        etag = ""
        while True:
            headers = {"Prefer": f"wait={_WAIT_S}", "If-None-Match": etag}
            answer = self._send("GET", f"/v1/jobs/{job_id}", headers=headers)
            if answer.status_code == 304:
                continue
            etag, job = answer.headers["ETag"], _decoded(answer)
            if on_change is not None:
                on_change(job)
            if job["state"] in _TERMINAL:
                return job

    def events(self, job_id: str, after: int = 0) -> Iterator[Json]:
        """A job's events as they happen, to its end: {"id", "type", "data"}. Reconnects where it was cut off."""
        last, failures = after, 0
        while True:
            try:
                for event in self._stream(job_id, last):
                    if event["type"] == "end":
                        return
                    last, failures = event["id"], 0
                    yield event
                failures += 1  # the stream ended without saying so
            except (httpx.TransportError, ClientError) as error:
                failures += 1
                if failures >= _TRIES or (isinstance(error, ClientError) and error.status not in _TRANSIENT):
                    raise
            if failures and self.job(job_id)["state"] in _TERMINAL and not failures < 2:
                return
            time.sleep(min(5.0, 0.2 * 2**failures))

    def trials(self, job_id: str) -> Iterator[Json]:
        """A job's trials in order of asking."""
        return self._pages(f"/v1/jobs/{job_id}/trials")

    def leaderboard(self, job_id: str) -> Json:
        """Fully evaluated trials, best first."""
        return self._json("GET", f"/v1/jobs/{job_id}/leaderboard")

    def cancel(self, job_id: str) -> Json:
        """Cancel a job for good."""
        return self._json("POST", f"/v1/jobs/{job_id}:cancel")

    def extend(self, job_id: str, **more: float) -> Json:
        """Add `seconds` or `trials`; the job, or the new one that goes on from an ended one."""
        return self._json("POST", f"/v1/jobs/{job_id}:extend", json=more)

    # Models

    def model(self, model_id: str) -> Json:
        """A model."""
        return self._json("GET", f"/v1/models/{model_id}")

    def models(self) -> Iterator[Json]:
        """All models, newest first."""
        return self._pages("/v1/models")

    def predict(self, model_id: str, rows: Sequence[Mapping[str, Any]]) -> Json:
        """Predictions for some rows: {"predictions", "probabilities", "warnings", …}."""
        return self._json("POST", f"/v1/models/{model_id}/predictions", json={"rows": list(rows)}, is_safe=True)

    def download_bundle(self, model_id: str, path: Path) -> str:
        """Save a model's bundle; its SHA-256, checked. A download that breaks off goes on where it was.

        Raises:
            OSError: what arrived is not what the service has.
        """
        partial = path.with_name(path.name + ".partial")
        partial.unlink(missing_ok=True)
        for attempt in range(_TRIES):
            try:
                expected = self._download(model_id, partial)
                break
            except httpx.TransportError:
                if attempt == _TRIES - 1:
                    raise
                time.sleep(0.2 * 2**attempt)
        with partial.open("rb") as file:
            actual = hashlib.file_digest(file, "sha256").hexdigest()
        if actual != expected:
            partial.unlink()
            raise OSError(f"The bundle arrived damaged: SHA-256 {actual}, not {expected}. Download it again.")
        partial.replace(path)
        return actual

    # Projects and the service

    def create_key(self, name: str, scopes: Sequence[str]) -> Json:
        """A new key; its secret is only in this answer."""
        return self._json("POST", "/v1/keys", json={"name": name, "scopes": list(scopes)})

    def keys(self) -> Iterator[Json]:
        """The project's keys."""
        return self._pages("/v1/keys")

    def revoke_key(self, key_id: str) -> Json:
        """Revoke a key."""
        return self._json("POST", f"/v1/keys/{key_id}:revoke")

    def space(self) -> Json:
        """Learners, strategies, metrics and the configuration space."""
        return self._json("GET", "/v1/space")

    def _json(self, method: str, path: str, **options: Any) -> Json:
        return _decoded(self._send(method, path, **options))

    def _pages(self, path: str, **params: Any) -> Iterator[Json]:
        cursor: str | None = None
        while True:
            page = self._json("GET", path, params={**params, **({"cursor": cursor} if cursor else {})})
            yield from page["items"]
            if (cursor := page["next_cursor"]) is None:
                return

    def _send(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str] | None = None,
        make_content: Callable[[], bytes | Iterator[bytes]] | None = None,
        is_safe: bool = False,
        **options: Any,
    ) -> httpx.Response:
        """Send, and send again when the service is away for a moment. The Idempotency-Key makes that harmless."""
        sent = dict(headers or {})
        if method == "POST" and not is_safe:
            sent["Idempotency-Key"] = f'"{uuid4()}"'
        for attempt in range(_TRIES):
            pause = min(5.0, 0.2 * 2**attempt)
            try:
                content = None if make_content is None else make_content()
                answer = self._http.request(method, path, headers=sent, content=content, **options)
            except httpx.TransportError:
                if attempt == _TRIES - 1:
                    raise
            else:
                if not _is_transient(answer) or attempt == _TRIES - 1:
                    return answer
                pause = min(5.0, float(answer.headers.get("Retry-After", pause)))
            time.sleep(pause)
        raise AssertionError("unreachable")

    def _stream(self, job_id: str, after: int) -> Iterator[Json]:
        headers = {"Last-Event-ID": str(after), "Accept": "text/event-stream"}
        timeout = httpx.Timeout(60, connect=5)
        with self._http.stream("GET", f"/v1/jobs/{job_id}/events", headers=headers, timeout=timeout) as answer:
            if answer.status_code == 204:
                yield {"id": after, "type": "end", "data": {}}
                return
            if answer.status_code != 200:
                answer.read()
                _decoded(answer)
            fields: dict[str, str] = {}
            for line in answer.iter_lines():
                name, _, value = line.partition(":")
                if line and name:
                    fields[name] = value.removeprefix(" ")
                elif not line and "event" in fields:
                    number = int(fields.get("id", after))
                    yield {"id": number, "type": fields["event"], "data": json.loads(fields.get("data", "{}"))}
                    fields = {}

    def _download(self, model_id: str, partial: Path) -> str:
        """Append what is missing; the expected SHA-256."""
        have = partial.stat().st_size if partial.exists() else 0
        etag_file = partial.with_name(partial.name + ".etag")
        headers = {"Range": f"bytes={have}-", "If-Range": etag_file.read_text()} if have else {}
        with self._http.stream("GET", f"/v1/models/{model_id}/bundle", headers=headers) as answer:
            if answer.status_code not in (200, 206):
                answer.read()
                _decoded(answer)
            etag_file.write_text(answer.headers["ETag"])
            with partial.open("ab" if answer.status_code == 206 else "wb") as file:
                for chunk in answer.iter_bytes():
                    file.write(chunk)
            etag_file.unlink()
            return _sha256(answer.headers["Repr-Digest"])


def disposition(filename: str) -> str:
    """A Content-Disposition that carries any name (RFC 6266)."""
    return f"attachment; filename*=UTF-8''{quote(filename, safe='')}"


def _is_transient(answer: httpx.Response) -> bool:
    return answer.status_code in _TRANSIENT and "Retry-After" in answer.headers


def _decoded(answer: httpx.Response) -> Json:
    if answer.is_success:
        decoded: Json = answer.json() if answer.content else {}
        return decoded
    try:
        problem = answer.json()
    except ValueError:
        problem = {"detail": answer.text[:300] or f"HTTP {answer.status_code}"}
    raise ClientError(answer.status_code, problem)


def _sha256(digest: str) -> str:
    """Hex of an RFC 9530 digest `sha-256=:base64:`."""
    import base64

    return base64.b64decode(digest.split("=:", 1)[1].split(":", 1)[0]).hex()


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            yield chunk
