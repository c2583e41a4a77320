"""`warmstart up`: the whole stack on one machine."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from app.client import Client
from tests.pace import SLOWNESS

PENGUINS = Path(__file__).parents[3] / "app" / "local" / "data" / "penguins.csv"
_READY_S = 60.0 * SLOWNESS
_RECOVERED_S = 30.0 * SLOWNESS


@dataclass(frozen=True)
class Running:
    """A stack that a test started."""

    process: subprocess.Popen[str]
    data: Path
    client: Client
    seconds: float  #: until it was ready

    def read_state(self) -> dict[str, Any]:
        """What up.json says now."""
        return json.loads((self.data / "up.json").read_text())

    def output(self) -> str:
        """What it has printed."""
        return self.data.with_name(self.data.name + ".out").read_text()


@contextmanager
def _up(account: Any, data: Path) -> Iterator[Running]:
    """Start on a free port; at the end whoever still runs is told to stop."""
    started = time.monotonic()
    account.environment["WARMSTART_TEMPO"] = str(0.1 * SLOWNESS)
    with data.with_name(data.name + ".out").open("w") as output:
        arguments = ["-m", "app.cli", "up", "--port", "0", "--data-dir", str(data)]
        process = account.popen(*arguments, stdout=output, stderr=subprocess.STDOUT)
    try:
        _wait_until(lambda: _is_written_by(process, data / "up.json"), _READY_S)
        seconds = time.monotonic() - started
        print(f"{account.name}: ready after {seconds:.1f} s")
        with Client(json.loads((data / "up.json").read_text())["url"], (data / "key").read_text().strip()) as client:
            yield Running(process, data, client, seconds)
    finally:
        process.terminate()
        process.wait(60 * SLOWNESS)


def _is_written_by(process: subprocess.Popen[str], state: Path) -> bool:
    assert process.poll() is None, state.with_name(state.parent.name + ".out")
    with suppress(OSError):
        return json.loads(state.read_text())["pid"] == process.pid
    return False


def _wait_until(condition: Callable[[], object], seconds: float) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.1)


def _quick_model(client: Client, dataset_id: str) -> dict[str, Any]:
    """A job that takes no time, through worker and predictor."""
    spec = {
        "dataset_id": dataset_id,
        "target": "species",
        "budget": {"seconds": None, "trials": 1},
        "algorithms": {"include": ["dummy"]},
    }
    job = client.wait(client.create_job(spec)["id"])
    assert job["state"] == "succeeded", job["error"]
    columns = [column["name"] for column in client.dataset(dataset_id)["columns"] if column["name"] != "species"]
    answer = client.predict(job["model_id"], [dict.fromkeys(columns)])
    assert answer["predictions"][0] in ("Adelie", "Chinstrap", "Gentoo")
    return client.model(job["model_id"])


def test_jobs_succeed_and_nothing_is_left_when_root_and_an_ordinary_user_run_it_side_by_side(
    two_accounts: list[Any], assert_gone: Callable[..., None]
) -> None:
    one, two = two_accounts
    with _up(one, one.folder / "my data") as first, _up(two, two.folder / "my data") as second:
        for stack in (first, second):
            model = _quick_model(stack.client, stack.client.upload(PENGUINS, name="penguins.csv")["id"])
            stack.client.download_bundle(model["id"], stack.data.with_name("model.zip"))
            assert len(list(stack.client.datasets())) == 1
        third = one.popen("-m", "app.cli", "up", "--data-dir", str(first.data), stderr=subprocess.PIPE)
        assert "Another `warmstart up` uses" in third.communicate(timeout=30 * SLOWNESS)[1]
        assert third.returncode == 1
        for stack, number in ((first, signal.SIGINT), (second, signal.SIGTERM)):
            stack.process.send_signal(number)
            assert stack.process.wait(40 * SLOWNESS) == 0
            assert_gone(str(stack.data), 1)
            assert not (stack.data / "up.json").exists()
            assert stack.data.stat().st_mode & 0o777 == 0o700
            assert (stack.data / "key").stat().st_mode & 0o777 == 0o600
    assert first.seconds <= 30 * SLOWNESS  # 5 on a quiet machine; other tests run beside this one


@pytest.mark.timeout(1200)
def test_it_recovers_when_any_part_or_the_supervisor_is_killed(
    make_account: Callable[[str], Any], assert_gone: Callable[..., None]
) -> None:
    account = make_account("ourselves")
    with _up(account, account.folder / "data") as stack:
        dataset_id = stack.client.upload(PENGUINS, name="penguins.csv")["id"]
        for role in stack.read_state()["pids"]:
            _kill_and_wait(stack, role)
        _quick_model(stack.client, dataset_id)
        stack.process.kill()
        stack.process.wait()
        assert_gone(str(stack.data))
        left = [Path(name) for name in stack.read_state()["folders"]]
        assert all(path.exists() for path in left)
    with _up(account, account.folder / "data") as stack:
        assert stack.client.dataset(dataset_id)["rows"] == 344
        assert not any(path.exists() for path in left)


def _kill_and_wait(stack: Running, role: str) -> None:
    """Kill -9 a part; it comes back, the service with it, and what descended from the old one is gone."""
    killed = psutil.Process(stack.read_state()["pids"][role])
    family = [killed, *killed.children(recursive=True)]
    started = time.monotonic()
    killed.kill()
    _wait_until(lambda: stack.read_state()["pids"].get(role, killed.pid) != killed.pid, _RECOVERED_S)
    _wait_until(lambda: _is_ready(stack), _RECOVERED_S)
    print(f"{role}: back {time.monotonic() - started:.1f} s after kill -9")
    assert psutil.wait_procs(family, timeout=_RECOVERED_S)[1] == []


def _is_ready(stack: Running) -> bool:
    with suppress(httpx.TransportError):
        return httpx.get(f"{stack.read_state()['url']}/readyz").status_code == 200
    return False
