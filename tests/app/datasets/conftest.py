"""Uploads through the API, also through a real socket."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from fastapi import FastAPI
from fastapi.testclient import TestClient

CSV = b"age,job,income\n" + b"".join(
    b"%d,%s,%d\n" % (20 + n % 50, [b"clerk", b"nurse"][n % 2], n % 3) for n in range(60)
)


@pytest.fixture
def csv() -> bytes:
    """A table of 60 rows: age, job, income."""
    return CSV


@pytest.fixture
def post(client: TestClient, tenant: Any) -> Callable[..., Any]:
    """Uploads bytes; the response."""

    def send(content: bytes = CSV, *, headers: dict[str, str] | None = None, **options: Any) -> Any:
        return client.post("/v1/datasets", content=content, headers={**tenant.write, **(headers or {})}, **options)

    return send


@pytest.fixture
def assert_nothing_left(app: FastAPI) -> Callable[[], None]:
    """Neither scratch files nor blobs."""

    def check() -> None:
        settings = app.state.settings
        files = [path for root in (settings.scratch, settings.blobs) for path in root.rglob("*") if path.is_file()]
        assert files == []
        assert list(Path(settings.scratch).glob("upload-*")) == []

    return check


@pytest.fixture
def port(app: FastAPI) -> Iterator[int]:
    """The service on a real socket."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="on"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield listener.getsockname()[1]
    server.should_exit = True
    thread.join(10)
    listener.close()


@pytest.fixture
def open_upload(port: int, tenant: Any) -> Iterator[Callable[[str], socket.socket]]:
    """A connection on which the head of an upload has been sent."""
    opened: list[socket.socket] = []

    def connect(*headers: str) -> socket.socket:
        connection = socket.create_connection(("127.0.0.1", port), timeout=20)
        opened.append(connection)
        lines = ["POST /v1/datasets HTTP/1.1", "Host: x", f"Authorization: {tenant.write['Authorization']}", *headers]
        connection.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
        return connection

    yield connect
    for connection in opened:
        connection.close()
