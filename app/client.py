"""The Python client of the HTTP API. The command line, the demo and the benchmarks use it too."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote
from uuid import uuid4

import httpx

Json = dict[str, Any]
_Result = TypeVar("_Result")

_TERMINAL = frozenset({"succeeded", "failed", "cancelled"})
_AWAY = frozenset({502, 503, 504})
_WAIT_S = 20
_FIRST_CONTACT_S = 5.0  #: patience with a service that has never answered: the URL may be wrong
_PAUSE_MAX_S = 5.0
_PAUSE_S = 0.2


class ClientError(Exception):
    """The service refused. `status`, `code` and `errors` are those of its problem+json.

    `retry_after_s` is set where the same request may succeed later.
    """

    def __init__(self, status: int, problem: Mapping[str, Any], retry_after_s: float | None = None) -> None:
        self.status = status
        self.retry_after_s = retry_after_s
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
        patience_s: how long a service that is away for a moment is asked again.
    """

    def __init__(self, url: str, key: str, *, timeout_s: float = 60.0, patience_s: float = 60.0) -> None:
        self._http = httpx.Client(
            base_url=url,
            headers={"Authorization": f"Bearer {key}"},
            timeout=httpx.Timeout(timeout_s, connect=5.0),
            event_hooks={"response": [self._note_answer]},
        )
        self._patience_s = patience_s
        self._has_answered = False

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
        return _decoded(_checked(self._http.request("POST", "/v1/datasets", content=content, **options)))

    def dataset(self, dataset_id: str) -> Json:
        """A dataset."""
        return self._json("GET", f"/v1/datasets/{dataset_id}")

    def datasets(self) -> Iterator[Json]:
        """All datasets, newest first."""
        return self._pages("/v1/datasets")

    def delete_dataset(self, dataset_id: str) -> None:
        """Delete a dataset that no job needs."""
        self._send("DELETE", f"/v1/datasets/{dataset_id}")

    # Jobs

    def create_job(self, spec: Mapping[str, Any]) -> Json:
        """Queue a job."""
        return self._json("POST", "/v1/jobs", json=dict(spec))

    def validate(self, spec: Mapping[str, Any]) -> Json:
        """What a spec would do, without doing it."""
        return self._json("POST", "/v1/jobs:validate", json=dict(spec), is_safe=True)

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
        last, patience = after, self._patience()
        while True:
            try:
                for event in self._stream(job_id, last):
                    patience.renew()
                    if event["type"] == "end":
                        return
                    last = event["id"]
                    yield event
            except (httpx.TransportError, ClientError) as error:
                patience.pause_after(error)
            else:
                time.sleep(_PAUSE_S)  # its time was up; the next one goes on where it ended

    def trials(self, job_id: str) -> Iterator[Json]:
        """A job's trials in order of asking."""
        return self._pages(f"/v1/jobs/{job_id}/trials")

    def leaderboard(self, job_id: str) -> Json:
        """Fully evaluated trials, best first."""
        return self._json("GET", f"/v1/jobs/{job_id}/leaderboard")

    def job_knowledge(self, job_id: str) -> Json:
        """What the job knew when it began, and what that brought."""
        return self._json("GET", f"/v1/jobs/{job_id}/knowledge")

    def cancel(self, job_id: str) -> Json:
        """Cancel a job for good."""
        return self._json("POST", f"/v1/jobs/{job_id}:cancel")

    def extend(self, job_id: str, **more: float) -> Json:
        """Add `seconds` or `trials`; the job, or the new one that goes on from an ended one."""
        return self._json("POST", f"/v1/jobs/{job_id}:extend", json=more)

    def delete_job(self, job_id: str) -> None:
        """Delete an ended job, with its model."""
        self._send("DELETE", f"/v1/jobs/{job_id}")

    # Models

    def model(self, model_id: str) -> Json:
        """A model."""
        return self._json("GET", f"/v1/models/{model_id}")

    def models(self) -> Iterator[Json]:
        """All models, newest first."""
        return self._pages("/v1/models")

    def delete_model(self, model_id: str) -> None:
        """Delete a model; its job stays."""
        self._send("DELETE", f"/v1/models/{model_id}")

    def predict(self, model_id: str, rows: Sequence[Mapping[str, Any]]) -> Json:
        """Predictions for some rows: {"predictions", "probabilities", "warnings", …}."""
        return self._json("POST", f"/v1/models/{model_id}/predictions", json={"rows": list(rows)}, is_safe=True)

    def download_bundle(self, model_id: str, path: Path) -> str:
        """Save a model's bundle; its SHA-256, checked. A download that breaks off goes on where it was, also later.

        Raises:
            OSError: what arrived is not what the service has.
        """
        partial = path.with_name(path.name + ".partial")
        expected = self._patiently(lambda: self._download(model_id, partial))
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

    # Knowledge

    def knowledge(self) -> Json:
        """How many tasks and evaluations the project's jobs can learn from."""
        return self._json("GET", "/v1/knowledge")

    def metamodels(self) -> Iterator[Json]:
        """Every version of what was learned across tasks."""
        return self._pages("/v1/knowledge/metamodels")

    def train_metamodels(self) -> Json:
        """Ask for a training, or for the one that waits or runs already."""
        return self._json("POST", "/v1/knowledge:train")

    def training(self, training_id: str) -> Json:
        """A training, its progress and its verdicts."""
        return self._json("GET", f"/v1/knowledge/trainings/{training_id}")

    def export_knowledge(self) -> bytes:
        """What the project's jobs left, as a zip for `import_knowledge`."""
        return self._send("POST", "/v1/knowledge:export", is_safe=True).content

    def import_knowledge(self, archive: bytes) -> Json:
        """Add an export to the project's own knowledge; how many tasks and evaluations it holds."""
        headers = {"Content-Type": "application/octet-stream"}
        return self._json("POST", "/v1/knowledge:import", make_content=lambda: archive, headers=headers)

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
        """Send, and send again while the service is away. The Idempotency-Key makes that harmless."""
        sent = dict(headers or {})
        if method == "POST" and not is_safe:
            sent["Idempotency-Key"] = f'"{uuid4()}"'

        def attempt() -> httpx.Response:
            content = None if make_content is None else make_content()
            return _checked(self._http.request(method, path, headers=sent, content=content, **options))

        return self._patiently(attempt)

    def _patiently(self, attempt: Callable[[], _Result]) -> _Result:
        patience = self._patience()
        while True:
            try:
                return attempt()
            except (httpx.TransportError, ClientError) as error:
                patience.pause_after(error)

    def _patience(self) -> _Patience:
        return _Patience(self._patience_s if self._has_answered else min(_FIRST_CONTACT_S, self._patience_s))

    def _note_answer(self, _: httpx.Response) -> None:
        self._has_answered = True

    def _stream(self, job_id: str, after: int) -> Iterator[Json]:
        headers = {"Last-Event-ID": str(after), "Accept": "text/event-stream"}
        timeout = httpx.Timeout(60, connect=5)
        with self._http.stream("GET", f"/v1/jobs/{job_id}/events", headers=headers, timeout=timeout) as answer:
            if answer.status_code == 204:
                yield {"id": after, "type": "end", "data": {}}
                return
            _checked(answer)
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
        """Append what is missing; the expected SHA-256. If-Range starts anew when the bundle is another by now."""
        etag = partial.with_name(partial.name + ".etag")
        have = partial.stat().st_size if partial.exists() and etag.exists() else 0
        headers = {"Accept-Encoding": "identity"}
        if have:
            headers |= {"Range": f"bytes={have}-", "If-Range": etag.read_text()}
        with self._http.stream("GET", f"/v1/models/{model_id}/bundle", headers=headers) as answer:
            if answer.status_code == 416:  # more than the bundle has
                etag.unlink()
                return self._download(model_id, partial)
            _checked(answer)
            etag.write_text(answer.headers["ETag"])
            with partial.open("ab" if answer.status_code == 206 else "wb") as file:
                for chunk in answer.iter_bytes():
                    file.write(chunk)
            expected = _sha256(answer.headers["Repr-Digest"])
        etag.unlink()
        return expected


class _Patience:
    """How long to try again, counted from the first failure after a success."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self.renew()

    def renew(self) -> None:
        """Something succeeded."""
        self._until: float | None = None
        self._pause_s = _PAUSE_S

    def pause_after(self, error: httpx.TransportError | ClientError) -> None:
        """Sleep a while; raise the error when it is for good or has lasted for too long."""
        now = time.monotonic()
        self._until = now + self._seconds if self._until is None else self._until
        wanted = error.retry_after_s if isinstance(error, ClientError) else self._pause_s
        if wanted is None or isinstance(error, httpx.UnsupportedProtocol) or now + _PAUSE_S > self._until:
            raise error
        time.sleep(min(max(wanted, _PAUSE_S), _PAUSE_MAX_S, self._until - now))
        self._pause_s *= 2


def disposition(filename: str) -> str:
    """A Content-Disposition that carries any name (RFC 6266)."""
    return f"attachment; filename*=UTF-8''{quote(filename, safe='')}"


def _checked(answer: httpx.Response) -> httpx.Response:
    """The answer, unless it is an error."""
    if answer.is_success or answer.status_code == 304:
        return answer
    answer.read()
    try:
        problem = dict(answer.json())
    except (ValueError, TypeError):
        problem = {"detail": answer.text[:300] or f"HTTP {answer.status_code}"}
    raise ClientError(answer.status_code, problem, _retry_after_s(answer))


def _retry_after_s(answer: httpx.Response) -> float | None:
    """Seconds to wait before the same request may succeed; None: it won't."""
    asked = answer.headers.get("Retry-After", "")
    if answer.status_code in _AWAY:
        return float(asked) if asked.isdigit() else 1.0
    is_in_flight = answer.status_code == 409 and asked.isdigit()  # the first request with this Idempotency-Key
    return float(asked) if is_in_flight else None


def _decoded(answer: httpx.Response) -> Json:
    decoded: Json = answer.json() if answer.content else {}
    return decoded


def _sha256(digest: str) -> str:
    """Hex of an RFC 9530 digest `sha-256=:base64:`."""
    import base64

    return base64.b64decode(digest.split("=:", 1)[1].split(":", 1)[0]).hex()


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            yield chunk
