"""The whole service as separate processes that a test may kill, a client that remembers, and a checker."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import psutil
import psycopg
import pytest
import redis

from app.database import Database
from app.local import children
from app.local.postgres import Postgres
from app.local.supervisor import ensure_first_key
from app.local.valkey import Valkey
from app.migrate import upgrade
from tests.chaos.client import Client
from tests.pace import SLOWNESS

HERE = Path(__file__).parent
REPOSITORY = HERE.parent.parent
LEASE_S = 6.0  #: seconds here are those of a quick machine; the house takes SLOWNESS times as many
TEMPO = LEASE_S / 60 * SLOWNESS
TERMINAL = ("succeeded", "failed", "cancelled")
_MARK = "WARMSTART_CHAOS"
IS_FULL = os.environ.get(_MARK) == "full"
#: of every fault test: one house serves them all
MARKS = [pytest.mark.chaos, pytest.mark.xdist_group("chaos"), pytest.mark.timeout(0 if IS_FULL else 1200)]


@dataclass
class Part:
    """A process of the service."""

    name: str
    start: Callable[[], subprocess.Popen[bytes]]
    process: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0
    is_wanted: bool = True
    mutation: str = ""

    @property
    def is_alive(self) -> bool:
        return self.process is not None and self.process.poll() is None


class House:
    """Embedded servers and every role. Whoever ends is started again by `tend`; all from the main thread."""

    def __init__(self, folder: Path, workers: int = 2) -> None:
        self.folder, self.token = folder, uuid4().hex
        self.postgres = Postgres(folder / "postgres", folder / "postgres.log")
        self.valkey = Valkey(folder / "valkey.log")
        self.port = _free_port()
        self.parts: dict[str, Part] = {
            "postgres": Part("postgres", lambda: self._start_server(self.postgres)),
            "valkey": Part("valkey", lambda: self._start_server(self.valkey)),
        }
        for name in ("api", "dispatcher", "predictor", *(f"worker{number}" for number in range(workers))):
            self.parts[name] = Part(name, lambda name=name: self._start_role(name))
        self.client: Client | None = None

    def start(self) -> None:
        """Everything, until it is ready."""
        for name in ("postgres", "valkey"):
            self._launch(self.parts[name])
        for name in ("worker0", "worker1", "api"):  # they take longest
            if name in self.parts:
                self._launch(self.parts[name])
        upgrade(self.postgres.url)
        database = Database(self.postgres.url, pool_size=1)
        key = ensure_first_key(database, self.folder / "key")
        database.dispose()
        with self.sql() as connection:
            connection.execute((HERE / "witnesses.sql").read_bytes())
        self.tend()
        self.client = Client(self.pause, f"http://127.0.0.1:{self.port}", key)
        self.wait(lambda: self.client.get("/readyz").status_code == 200, 60)
        self.settle()

    def close(self) -> None:
        """End everything at once, servers last."""
        if self.client is not None:
            self.client.http.close()
        for part in self.parts.values():
            part.is_wanted = False
            if part.is_alive and part.name not in ("postgres", "valkey"):
                assert part.process is not None
                children.stop(part.process)  # SIGKILL: what descends from it dies with it
        self.valkey.stop()
        self.postgres.stop()

    # Parts

    def tend(self) -> None:
        """Start again whatever has ended and is wanted."""
        for part in self.parts.values():
            if part.is_wanted and not part.is_alive:
                with suppress(RuntimeError):  # a server that was killed while it started
                    self._launch(part)

    def pid(self, name: str) -> int:
        """Of a part that runs."""
        process = self.parts[name].process
        assert process is not None
        return process.pid

    def kill(self, name: str, *, restart: bool = True) -> None:
        """SIGKILL a part; without `restart` it stays down."""
        part = self.parts[name]
        part.is_wanted = restart
        assert part.process is not None
        os.kill(part.process.pid, signal.SIGKILL)
        part.process.wait()

    def kill_runners(self, worker: str) -> None:
        """SIGKILL whatever runs a worker's jobs."""
        for pid in self.runners(worker):
            os.kill(pid, signal.SIGKILL)

    def restart(self, name: str, mutation: str = "") -> None:
        """Kill it and start it with a safeguard less, or whole again."""
        self.parts[name].mutation = mutation
        self.kill(name)
        self.tend()

    @contextmanager
    def mutated(self, *names: str, mutation: str) -> Iterator[None]:
        """These parts without a safeguard."""
        for name in names:
            self.restart(name, mutation)
        try:
            self.settle()
            yield
        finally:
            for name in names:
                self.restart(name)

    def settle(self, seconds: float = 60.0) -> None:
        """Wait until every wanted part runs and each worker is there with a warm runner, and the service is ready."""
        workers = [part for part in self.parts.values() if part.name.startswith("worker") and part.is_wanted]

        def is_settled() -> bool:
            known = [row[0] for row in self.rows("SELECT id FROM workers")]
            present = all(any(f":{self.pid(worker.name)}:" in name for name in known) for worker in workers)
            warm = all(self.is_warm(worker.name) for worker in workers)
            return present and warm and self.client.get("/readyz").status_code == 200

        self.wait(is_settled, seconds)

    def runners(self, worker: str) -> list[int]:
        """Runners of a worker."""
        return [child.pid for child in _children(self.pid(worker)) if "runner" in _command(child)]

    def is_warm(self, worker: str) -> bool:
        """Whether the worker has a runner that could take a job."""
        return any((self.folder / f"warm-{runner}").exists() for runner in self.runners(worker))

    def holder(self, job_id: str) -> str:
        """The worker that runs a job."""
        name = self.rows("SELECT worker FROM jobs WHERE id = %s", job_id)[0][0]
        return next(part for part in self.parts if part.startswith("worker") and f":{self.pid(part)}:" in name)

    def wait_running(self, job_id: str, told: int = 0, seconds: float = 60.0) -> str:
        """Wait until the job runs and so many of its trials are told; the worker that runs it."""
        self.wait(lambda: self.states([job_id]).get(job_id) == "running", seconds, 0.02)
        self.wait(lambda: len(self.told(job_id)) >= told, seconds, 0.02)
        return self.holder(job_id)

    def told(self, job_id: str) -> list[tuple[Any, ...]]:
        """Finished trials: number, when, status, everything."""
        return self.rows(
            "SELECT number, told_at, status, trial FROM trials "
            "WHERE job_id = %s AND status IS NOT NULL ORDER BY number",
            job_id,
        )

    def attempts(self, job_id: str) -> int:
        """How often it was claimed."""
        return int(self.rows("SELECT attempt FROM jobs WHERE id = %s", job_id)[0][0])

    def signal_tree(self, name: str, number: signal.Signals, *, itself: bool = True) -> None:
        """A signal to a worker and everything that it has started, or only to the latter."""
        process = psutil.Process(self.pid(name))
        for one in ([process] if itself else []) + process.children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                one.send_signal(number)

    def trials(self) -> list[int]:
        """Trial processes of all workers."""
        found = []
        for name, part in list(self.parts.items()):
            if name.startswith("worker") and part.is_alive:
                for runner in self.runners(name):
                    if server := template(runner):
                        found += [child.pid for child in _children(server)]
        return found

    def strays(self) -> list[str]:
        """Processes that a runner has started, and that runner is no more."""
        alive = set()
        for name, part in self.parts.items():
            if name.startswith("worker") and part.is_alive:
                alive |= {_environment(pid).get("WARMSTART_RUN") for pid in self.runners(name)}
        found = []
        for process in psutil.process_iter():
            environment = _environment(process.pid)
            run = environment.get("WARMSTART_RUN")
            if environment.get(_MARK) == self.token and run is not None and run not in alive:
                found.append(f"{process.pid}: {_command(process)}")
        return found

    def count_marked(self) -> int:
        """Processes of this house, servers not counted."""
        return sum(_environment(process.pid).get(_MARK) == self.token for process in psutil.process_iter())

    # Looking on

    @contextmanager
    def sql(self) -> Iterator[psycopg.Connection]:
        """A connection of the test's own."""
        with psycopg.connect(self.postgres.url, autocommit=True, connect_timeout=5) as connection:
            yield connection

    def rows(self, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """What a query finds; nothing while the database is away."""
        with suppress(psycopg.OperationalError):
            with self.sql() as connection:
                return connection.execute(statement, parameters).fetchall()
        return []

    def queue(self) -> redis.Redis:
        """The broker."""
        return redis.Redis(unix_socket_path=str(self.valkey.socket), socket_timeout=5)

    def wait(self, condition: Callable[[], Any], seconds: float, every_s: float = 0.05) -> Any:
        """Tend until the condition holds; what it returned.

        Raises:
            AssertionError: it does not in time.
        """
        until = time.monotonic() + seconds * SLOWNESS
        while True:
            self.tend()
            if result := condition():
                return result
            assert time.monotonic() < until, f"not within {seconds:g} s; see {self.folder}"
            time.sleep(every_s)

    def pause(self, seconds: float) -> None:
        """Tend for so long."""
        until = time.monotonic() + seconds * SLOWNESS
        while time.monotonic() < until:
            self.tend()
            time.sleep(0.02)

    def states(self, ids: Sequence[str]) -> dict[str, str]:
        """By job."""
        return {
            str(row[0]): row[1] for row in self.rows("SELECT id, state FROM jobs WHERE id = ANY(%s::uuid[])", list(ids))
        }

    def wait_ended(self, ids: Sequence[str], seconds: float) -> dict[str, str]:
        """Wait until all have ended; how.

        Raises:
            AssertionError: some have not.
        """

        def are_over() -> dict[str, str]:
            states = self.states(ids)
            return states if len(states) == len(ids) and all(state in TERMINAL for state in states.values()) else {}

        try:
            return self.wait(are_over, seconds, 0.1)
        except AssertionError as error:
            found = self.rows(
                "SELECT id, state, attempt, epoch, lease_until - clock_timestamp(), worker, published_at, "
                "clock_timestamp(), progress FROM jobs WHERE id = ANY(%s::uuid[]) AND state NOT IN "
                "('succeeded', 'failed', 'cancelled')",
                list(ids),
            )
            raise AssertionError(f"{len(found)} jobs have not ended: {found[:3]}; {error}") from error

    def check(self, ids: Sequence[str]) -> Counter[str]:
        """Nothing lost, nothing doubled, nothing stale, nothing left; how the acknowledged jobs have ended.

        Raises:
            AssertionError: with what was found.
        """
        ids = list(ids)
        found = self.rows("SELECT id, state, attempt FROM jobs WHERE id = ANY(%s::uuid[])", ids)
        assert {str(row[0]) for row in found} == set(ids), "acknowledged jobs are lost"
        assert all(row[1] in TERMINAL and row[2] <= 3 for row in found), found
        ends = self.rows(
            "SELECT job_id, count(*) FROM job_events WHERE type = 'state' AND job_id = ANY(%s::uuid[]) "
            "AND data ->> 'state' IN ('succeeded', 'failed', 'cancelled') GROUP BY job_id",
            ids,
        )
        assert sorted(row[1] for row in ends) == [1] * len(ids), "not exactly one end each"
        violations = self.rows("SELECT job_id, what FROM chaos_violations")
        assert not violations, violations[:5]
        self._check_models(ids)
        assert not self.client.faults, self.client.faults[:3]
        self.wait(lambda: not self.strays(), 10)
        return Counter(row[1] for row in found)

    def _check_models(self, ids: Sequence[str]) -> None:
        models = self.rows(
            "SELECT jobs.id, jobs.state, models.is_final, models.blob_key, models.sha256 FROM jobs "
            "LEFT JOIN models ON models.job_id = jobs.id WHERE jobs.id = ANY(%s::uuid[])",
            ids,
        )
        for job_id, state, is_final, key, expected in models:
            assert bool(is_final) == (state == "succeeded"), (job_id, state)
            if key is not None:
                content = (self.folder / "data" / "blobs" / key).read_bytes()
                assert hashlib.sha256(content).hexdigest() == expected, job_id

    # Starting

    def _launch(self, part: Part) -> None:
        if part.process is not None:
            children.stop(part.process)
        part.process, part.started_at = part.start(), time.monotonic()

    def _start_server(self, server: Postgres | Valkey) -> subprocess.Popen[bytes]:
        server.start()
        return server.process

    def _start_role(self, name: str) -> subprocess.Popen[bytes]:
        role = "worker" if name.startswith("worker") else name
        quiet = {key: value for key, value in os.environ.items() if not key.startswith("WARMSTART_")}
        planted = (REPOSITORY, HERE / "planted", REPOSITORY / "tests" / "workers" / "engine" / "evaluation")
        environment = quiet | {
            _MARK: self.token,
            "PYTHONPATH": ":".join(str(folder) for folder in planted),
            "WARMSTART_TEMPO": str(TEMPO),
            "WARMSTART_DATA_DIR": str(self.folder / "data"),
            "WARMSTART_DATABASE_URL": self.postgres.url,
            "WARMSTART_BROKER_URL": self.valkey.url,
            "WARMSTART_PREDICTOR_URL": f"unix://{self.folder}/predictor.sock",
            "WARMSTART_PORT": str(self.port),
            "WARMSTART_WORKER_CORES": "2",
            "WARMSTART_TRIAL_MEMORY_MB": "1000",
        }
        command = [sys.executable, HERE / "role.py", role, self.parts[name].mutation]
        log = self.folder / f"{name}.log"
        return children.start(command, log=log, env=environment, on_parent_death=signal.SIGKILL, cwd=self.folder)


def template(runner: int) -> int | None:
    """The template process of a runner, from which its trials are forked; None while it warms up."""
    return next((child.pid for child in _children(runner) if "forkserver" in _command(child)), None)


def _children(pid: int) -> list[psutil.Process]:
    with suppress(psutil.Error):
        return psutil.Process(pid).children()
    return []


def _command(process: psutil.Process) -> str:
    with suppress(psutil.Error):
        return " ".join(process.cmdline())
    return ""


def _environment(pid: int) -> dict[str, str]:
    with suppress(psutil.Error, OSError):
        return psutil.Process(pid).environ()
    return {}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running_house() -> Iterator[House]:
    """A house in a folder of its own; nothing of it is left afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="ws-chaos-"))
    house = House(folder)
    try:
        house.start()
        yield house
    finally:
        house.close()
        until = time.monotonic() + 10
        while house.count_marked() and time.monotonic() < until:
            time.sleep(0.1)
        if "WARMSTART_CHAOS_KEEP" not in os.environ:  # to read the logs
            shutil.rmtree(folder, ignore_errors=True)
        assert house.count_marked() == 0, "processes are left"
