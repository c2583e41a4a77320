"""The Python client, against the real service behind a proxy that cuts connections."""

from __future__ import annotations

import hashlib
import os
import socket
import socketserver
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
import uvicorn
from fastapi import FastAPI

from app.client import Client, ClientError
from app.http import make_etag

_SPEC = {"target": "income", "budget": {"seconds": 5}}
_BUSY = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 0\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class Proxy(socketserver.ThreadingTCPServer):
    """Passes bytes between a client and the service, each connection as far as its turn in `cuts` says."""

    allow_reuse_address = daemon_threads = True

    def __init__(self, service: tuple[str, int]) -> None:
        super().__init__(("127.0.0.1", 0), _Passage)
        self.service = service
        #: Bytes of answers that the next connections pass before they are cut; -1: a 503 instead. Then all pass whole.
        self.cuts: list[int] = []
        self.passed = 0  #: bytes of answers

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Passage(socketserver.BaseRequestHandler):
    server: Proxy

    def handle(self) -> None:
        left: float = self.server.cuts.pop(0) if self.server.cuts else float("inf")
        if left < 0:
            self.request.recv(65536)
            self.request.sendall(_BUSY)
            return
        with socket.create_connection(self.server.service) as upstream:
            threading.Thread(target=_pump, args=(self.request, upstream), daemon=True).start()
            with suppress(OSError):
                while left > 0 and (data := upstream.recv(min(65536, int(min(left, 65536))))):
                    left -= len(data)
                    self.server.passed += len(data)
                    self.request.sendall(data)


def _pump(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)


@contextmanager
def _serving(server: Any, run: Callable[[], None], stop: Callable[[], None]) -> Iterator[Any]:
    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield server
    finally:
        stop()
        thread.join()


@pytest.fixture
def proxy(app: FastAPI) -> Iterator[Proxy]:
    """The service, and the proxy before it."""
    config = uvicorn.Config(app, log_config=None, access_log=False, timeout_graceful_shutdown=1)
    service = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listening, Proxy(listening.getsockname()) as proxy:
        with (
            _serving(service, lambda: service.run(sockets=[listening]), lambda: setattr(service, "should_exit", True)),
            _serving(proxy, lambda: proxy.serve_forever(0.02), proxy.shutdown),
        ):
            yield proxy


@pytest.fixture
def connect(proxy: Proxy, tenant: Any) -> Iterator[Callable[..., Client]]:
    """A client whose connections are cut as told."""
    clients: list[Client] = []

    def make(*cuts: int, **options: Any) -> Client:
        proxy.cuts[:] = cuts
        key = tenant.admin["Authorization"].removeprefix("Bearer ")
        clients.append(Client(proxy.url, key, **options))
        return clients[-1]

    yield make
    for client in clients:
        client.close()


def test_there_is_one_job_when_the_answer_was_lost(connect: Callable[..., Client], dataset_id: UUID) -> None:
    client = connect(0, 20, -1)
    job = client.create_job({**_SPEC, "dataset_id": str(dataset_id)})
    assert [item["id"] for item in client.jobs()] == [job["id"]]


def test_an_error_says_what_and_where_when_the_service_refuses(
    connect: Callable[..., Client], dataset_id: UUID
) -> None:
    with pytest.raises(ClientError, match=r"/budget/seconds") as caught:
        connect().create_job({"dataset_id": str(dataset_id), "target": "income", "budget": {"seconds": -1}})
    assert (caught.value.status, caught.value.errors[0]["pointer"]) == (422, "/budget/seconds")


def test_it_gives_up_at_once_when_there_is_no_such_job(connect: Callable[..., Client]) -> None:
    started = time.monotonic()
    with pytest.raises(ClientError) as caught:
        connect().wait(str(uuid4()))
    assert caught.value.status == 404
    assert time.monotonic() - started < 2


def test_it_gives_up_when_patience_is_at_an_end(connect: Callable[..., Client]) -> None:
    client = connect(*[0] * 9, patience_s=0.5)
    with pytest.raises(httpx.TransportError):
        client.space()
    client = connect(*[-1] * 9, patience_s=0.5)
    with pytest.raises(ClientError) as caught:
        client.space()
    assert caught.value.status == 503


def test_every_item_comes_once_when_a_list_has_pages(connect: Callable[..., Client], dataset_id: UUID) -> None:
    client = connect()
    made = [client.create_job({**_SPEC, "dataset_id": str(dataset_id)})["id"] for _ in range(5)]
    assert [item["id"] for item in client.jobs(limit=2)] == made[::-1]


def test_wait_sees_every_state_when_connections_break(
    connect: Callable[..., Client], dataset_id: UUID, change_job: Callable[..., None]
) -> None:
    client = connect()
    job_id = client.create_job({**_SPEC, "dataset_id": str(dataset_id)})["id"]
    seen: list[str] = []

    def go_on(job: dict[str, Any]) -> None:
        seen.append(job["state"])
        following = {"queued": "running", "running": "succeeded"}.get(job["state"])
        if following:
            change_job(job_id, state=following)

    assert connect(30, -1, 500).wait(job_id, go_on)["state"] == "succeeded"
    assert seen == ["queued", "running", "succeeded"]


def test_every_event_comes_once_and_in_order_when_the_stream_breaks(
    connect: Callable[..., Client], dataset_id: UUID, change_job: Callable[..., None]
) -> None:
    job_id = connect().create_job({**_SPEC, "dataset_id": str(dataset_id)})["id"]
    for number in range(30):
        change_job(job_id, progress={"trials": number})
    change_job(job_id, state="succeeded")
    events = list(connect(1500, 0, 900, -1).events(job_id))
    assert [event["id"] for event in events] == sorted({event["id"] for event in events})
    trials = [event["data"]["progress"]["trials"] for event in events if event["type"] == "progress"]
    assert trials == list(range(30))
    assert events[-1]["data"]["state"] == "succeeded"


def test_a_download_goes_on_where_it_was_when_it_breaks_off(
    connect: Callable[..., Client],
    proxy: Proxy,
    dataset_id: UUID,
    add_model: Callable[..., UUID],
    tmp_path: Path,
) -> None:
    content = os.urandom(3_000_000)
    job = connect().create_job({**_SPEC, "dataset_id": str(dataset_id)})
    model_id = str(add_model(job["id"], content))
    client = connect(1_000_000, 0, 1_200_000)
    before = proxy.passed
    digest = client.download_bundle(model_id, tmp_path / "model.zip")
    assert (tmp_path / "model.zip").read_bytes() == content
    assert digest == hashlib.sha256(content).hexdigest()
    assert proxy.passed - before < 3_300_000
    assert list(tmp_path.glob("model.zip*")) == [tmp_path / "model.zip"]


def test_a_download_by_another_process_goes_on_or_starts_anew_when_the_bundle_has_changed(
    connect: Callable[..., Client],
    dataset_id: UUID,
    add_model: Callable[..., UUID],
    tmp_path: Path,
) -> None:
    job = connect().create_job({**_SPEC, "dataset_id": str(dataset_id)})
    model_id = str(add_model(job["id"], b"a bundle"))
    current = make_etag(hashlib.sha256(b"a bundle").hexdigest())
    for partial, etag in ((b"of another", '"0"'), (b"more than there is", current), (b"a bun", current)):
        (tmp_path / "model.zip.partial").write_bytes(partial)
        (tmp_path / "model.zip.partial.etag").write_text(etag)
        connect().download_bundle(model_id, tmp_path / "model.zip")
        assert (tmp_path / "model.zip").read_bytes() == b"a bundle"


def test_a_bundle_is_refused_when_its_bytes_are_not_what_was_stored(
    connect: Callable[..., Client],
    app: FastAPI,
    dataset_id: UUID,
    add_model: Callable[..., UUID],
    tmp_path: Path,
) -> None:
    job = connect().create_job({**_SPEC, "dataset_id": str(dataset_id)})
    model_id = str(add_model(job["id"], b"a bundle"))
    next((app.state.settings.blobs / "jobs" / job["id"]).rglob("*.zip")).write_bytes(b"A bundle")
    with pytest.raises(OSError, match="damaged"):
        connect().download_bundle(model_id, tmp_path / "model.zip")
    assert list(tmp_path.glob("model.zip*")) == []


def test_a_table_with_any_name_is_uploaded_as_file_bytes_or_stream(
    connect: Callable[..., Client], tmp_path: Path
) -> None:
    table = tmp_path / 'größen "neu".csv'
    table.write_text("a,b\n" + "".join(f"{number},{number % 3}\n" for number in range(20)))
    client = connect()
    for content in (table, table.read_bytes(), iter([table.read_bytes()])):
        dataset = client.upload(content, name=table.name)
        assert (dataset["name"], dataset["rows"]) == (table.name, 20)
        client.delete_dataset(dataset["id"])
    assert list(client.datasets()) == []


def test_a_key_is_made_and_revoked(connect: Callable[..., Client], proxy: Proxy) -> None:
    client = connect()
    key = client.create_key("notebook", ["read"])
    with Client(proxy.url, key["secret"]) as other:
        assert list(other.models()) == []
        client.revoke_key(key["id"])
        with pytest.raises(ClientError) as caught:
            list(other.models())
    assert caught.value.status == 401
