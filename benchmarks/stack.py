"""A whole embedded service of its own for a benchmark, in a temporary folder."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from app.client import Client

_READY_S = 90.0
_STOP_S = 60.0


@dataclass(frozen=True)
class Stack:
    """A running service."""

    url: str
    key: str
    client: Client
    pid: int  #: of the supervisor: everything else descends from it
    pids: dict[str, int]  #: by role, when it became ready


@contextmanager
def running_stack(**environment: str) -> Iterator[Stack]:
    """Run `warmstart up` on a free port until the block ends. WARMSTART_ variables reach it as they are, these too.

    It ends too when this process is asked to end.

    Raises:
        RuntimeError: it does not become ready; the message holds what it said.
    """
    with _ended_by_sigterm(), tempfile.TemporaryDirectory(prefix="ws-bench-") as name:
        data, log = Path(name) / "data", Path(name) / "up.log"
        command = [sys.executable, "-m", "app.cli", "up", "--port", "0", "--data-dir", str(data)]
        with log.open("wb") as output:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env=os.environ | environment,
            )
        try:
            state = _wait_until_ready(process, data / "up.json", log)
            key = (data / "key").read_text().strip()
            with Client(state["url"], key) as client:
                yield Stack(state["url"], key, client, state["pid"], state["pids"])
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(_STOP_S)
            finally:
                process.kill()  # its children end with it


@contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def instant(text: str) -> datetime:
    """An RFC 3339 time."""
    return datetime.fromisoformat(text)


def _wait_until_ready(process: subprocess.Popen[bytes], state: Path, log: Path) -> dict[str, Any]:
    until = time.monotonic() + _READY_S
    while not state.exists():
        if process.poll() is not None or time.monotonic() > until:
            raise RuntimeError(f"`warmstart up` did not become ready: {log.read_text(errors='replace').strip()}")
        time.sleep(0.1)
    decoded: dict[str, Any] = json.loads(state.read_text())
    return decoded
