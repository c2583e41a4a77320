"""The predictor as a process: takes over a dead one's socket, and several serve one socket and end together."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from tests.pace import SLOWNESS


@pytest.fixture
def launch(predictor_url: str, tmp_path: Path) -> Iterator[Callable[[int], subprocess.Popen[bytes]]]:
    """Starts `warmstart predictor` with so many processes."""
    started = []

    def start(processes: int) -> subprocess.Popen[bytes]:
        environment = {
            **os.environ,
            "WARMSTART_PREDICTOR_URL": predictor_url,
            "WARMSTART_PREDICTOR_PROCESSES": str(processes),
            "WARMSTART_DATA_DIR": str(tmp_path),
        }
        process = subprocess.Popen([sys.executable, "-m", "app.cli", "predictor"], env=environment, cwd=tmp_path)
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()


def wait_until_healthy(url: str) -> None:
    transport = httpx.HTTPTransport(uds=url.removeprefix("unix://"))
    deadline = time.monotonic() + 60
    with httpx.Client(transport=transport, base_url="http://predictor") as client:
        while True:
            try:
                assert client.get("/healthz", timeout=30).json() == {"status": "ok"}
            except httpx.TransportError:
                assert time.monotonic() < deadline
                time.sleep(0.05)
            else:
                return


def test_predictor_takes_over_the_socket_when_one_was_killed(launch: Callable[..., object], predictor_url: str) -> None:
    first = launch(1)
    wait_until_healthy(predictor_url)
    first.kill()
    first.wait()
    second = launch(1)
    wait_until_healthy(predictor_url)
    second.send_signal(signal.SIGTERM)
    second.wait(20 * SLOWNESS)


def test_processes_end_with_the_first_when_it_is_killed(launch: Callable[..., object], predictor_url: str) -> None:
    process = launch(2)
    wait_until_healthy(predictor_url)
    descendants = psutil.Process(process.pid).children(recursive=True)
    assert len(descendants) >= 2
    process.kill()
    process.wait()
    _, alive = psutil.wait_procs(descendants, timeout=20 * SLOWNESS)
    assert not alive
