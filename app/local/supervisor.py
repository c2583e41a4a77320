"""`warmstart up`: every role of the service on one machine, kept running until it is told to stop."""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
from pydantic import SecretStr

from app.local import children
from app.local.postgres import Postgres, short_folder
from app.local.valkey import Valkey
from app.settings import Settings

if TYPE_CHECKING:
    from app.database import Database

_READY_S = 60.0
_POLL_S = 0.1
_LONGEST_PAUSE_S = 10.0  # between restarts of a child that keeps ending
_HEALTHY_S = 30.0  # a child that ran this long starts anew without a pause
_STOP_S = {"worker": 15.0}  # seconds between SIGTERM and SIGKILL, 8 for others


class AlreadyRunning(RuntimeError):
    """Another instance uses this data folder."""


@dataclass
class Child:
    """A part of the stack: how to start it, and how it has fared."""

    name: str
    start: Callable[[], subprocess.Popen[bytes]]
    process: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0
    failures: int = 0
    restart_at: float = 0.0


@dataclass
class Up:
    """The whole stack. `start`, then `watch` until `stop` is set, then `close`; all from the main thread.

    Args:
        settings: of the service; embedded servers are added where no URL is given.
        stopping: set by whoever wants an end.
    """

    settings: Settings
    stopping: threading.Event = field(default_factory=threading.Event)
    url: str = ""
    key: str = ""

    def __post_init__(self) -> None:
        self._data = self.settings.data_dir.absolute()
        self._logs = self._data / "logs"
        self._children: list[Child] = []
        self._postgres: Postgres | None = None
        self._valkey: Valkey | None = None
        self._sockets: Path | None = None
        self._lock: int | None = None

    @property
    def pids(self) -> dict[str, int]:
        """Process id by role."""
        return {child.name: child.process.pid for child in self._children if child.process is not None}

    def start(self) -> None:
        """Start everything and wait until the service answers.

        Raises:
            AlreadyRunning: another instance uses the data folder.
            RuntimeError: a part does not come up; the message names its log.
        """
        children.become_subreaper()
        self._prepare_folders()
        try:
            environment = self._start_servers()
            self._start_role("api", environment)
            self._migrate(environment["WARMSTART_DATABASE_URL"])
            self._wait_until_ready()
            for role in ["worker"] + ([] if self.settings.predictor_url else ["predictor"]):
                self._start_role(role, environment)
            self._load_seed(environment)
            self._start_role("dispatcher", environment)  # the first job knows what the package ships
        except BaseException:
            self.close()
            raise
        self._write_state()

    def watch(self) -> None:
        """Restart what ends, until told to stop."""
        written = self.pids
        while not self.stopping.wait(_POLL_S):
            for child in self._children:
                self._look_after(child)
            _reap_adopted(set(self.pids.values()))
            if self.pids != written:
                written = self.pids
                self._write_state()

    def close(self) -> None:
        """Stop everything in order: nothing new comes in, then workers, then the servers."""
        for child in reversed(self._children):
            if child.process is not None and child.name not in ("postgres", "valkey"):
                children.stop(child.process, (signal.SIGTERM, _STOP_S.get(child.name, 8.0)))
        for server in (self._valkey, self._postgres):
            if server is not None:
                server.stop()
        children.reap_orphans()
        if self._sockets is not None:
            shutil.rmtree(self._sockets, ignore_errors=True)
        (self._data / "up.json").unlink(missing_ok=True)
        if self._lock is not None:
            os.close(self._lock)

    def _prepare_folders(self) -> None:
        for folder in (self._data, self._logs):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._data.chmod(0o700)
        self._lock = os.open(self._data / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            message = f"Another `warmstart up` uses {self._data}. Stop it, or set WARMSTART_DATA_DIR."
            raise AlreadyRunning(message) from error
        self._remove_leftovers()
        self._sockets = Path(tempfile.mkdtemp(prefix="ws-", dir=short_folder()))
        (self._sockets / "temporary").mkdir(mode=0o700)

    def _remove_leftovers(self) -> None:
        """Of an instance that was killed: what it had in temporary folders."""
        with suppress(OSError, ValueError, KeyError):
            for folder in json.loads((self._data / "up.json").read_text())["folders"]:
                shutil.rmtree(folder, ignore_errors=True)
        (self._data / "up.json").unlink(missing_ok=True)

    def _start_servers(self) -> dict[str, str]:
        """PostgreSQL and Valkey, embedded unless given; the environment of the roles."""
        settings = self.settings
        assert self._sockets is not None
        if settings.broker_url is None:
            self._valkey = Valkey(self._logs / "valkey.log")
            self._valkey.start()
            self._adopt("valkey", self._valkey)
        if settings.database_url is None:
            self._postgres = Postgres(self._data / "postgres", self._logs / "postgres.log")
            self._postgres.start()
            self._adopt("postgres", self._postgres)
        database = self._postgres.url if self._postgres else _revealed(settings.database_url)
        broker = self._valkey.url if self._valkey else _revealed(settings.broker_url)
        predictor = settings.predictor_url or f"unix://{self._sockets}/predictor.sock"
        port = settings.port or _free_port(settings.host)
        self.url = f"http://{settings.host}:{port}"
        return {
            **os.environ,
            "TMPDIR": str(self._sockets / "temporary"),
            "WARMSTART_DATA_DIR": str(self._data),
            "WARMSTART_DATABASE_URL": database,
            "WARMSTART_BROKER_URL": broker,
            "WARMSTART_PREDICTOR_URL": predictor,
            "WARMSTART_HOST": settings.host,
            "WARMSTART_PORT": str(port),
        }

    def _migrate(self, database: str) -> None:
        from app.database import Database  # a second of imports, while the API does the same on another core
        from app.migrate import upgrade

        upgrade(database)
        opened = Database(database, pool_size=1)
        try:
            self.key = ensure_first_key(opened, self._data / "key")
        finally:
            opened.dispose()

    def _load_seed(self, environment: dict[str, str]) -> None:
        from app.knowledge.loading import load_seed

        load_seed(environment["WARMSTART_DATABASE_URL"], self.settings)

    def _start_role(self, role: str, environment: dict[str, str]) -> None:
        child = Child(role, self._role_starter(role, environment))
        self._children.append(child)
        self._launch(child)

    def _role_starter(self, role: str, environment: dict[str, str]) -> Callable[[], subprocess.Popen[bytes]]:
        command = [sys.executable, "-m", "app.cli", role]
        log = self._logs / f"{role}.log"
        return lambda: children.start(command, log=log, env=environment, on_parent_death=signal.SIGKILL)

    def _adopt(self, name: str, server: Postgres | Valkey) -> None:
        def restart() -> subprocess.Popen[bytes]:
            server.start()
            return server.process

        self._children.append(Child(name, restart, server.process, time.monotonic()))

    def _launch(self, child: Child) -> None:
        child.process = child.start()
        child.started_at = time.monotonic()

    def _relaunch(self, child: Child) -> None:
        try:
            self._launch(child)
        except (RuntimeError, OSError) as error:  # a server that does not come up now is tried again
            sys.stderr.write(f"{child.name}: {error}\n")
            self._postpone(child, is_healthy=False)

    def _look_after(self, child: Child) -> None:
        now = time.monotonic()
        if child.process is None:
            if now >= child.restart_at:
                self._relaunch(child)
        elif child.process.poll() is not None:
            children.stop(child.process)  # whatever is left of its group
            self._postpone(child, is_healthy=now - child.started_at > _HEALTHY_S)

    def _postpone(self, child: Child, *, is_healthy: bool) -> None:
        child.process = None
        child.failures = 0 if is_healthy else child.failures + 1
        child.restart_at = time.monotonic() + min(_LONGEST_PAUSE_S, 0.1 * 2**child.failures)

    def _wait_until_ready(self) -> None:
        until = time.monotonic() + _READY_S
        while not _answers(f"{self.url}/readyz") and not self.stopping.is_set():
            for child in self._children:
                if child.process is not None and child.process.poll() is not None:
                    raise RuntimeError(f"{child.name} ended at once; see {self._logs / child.name}.log.")
            if time.monotonic() > until:
                raise RuntimeError(f"The service did not become ready; see the logs in {self._logs}.")
            time.sleep(0.05)

    def _write_state(self) -> None:
        servers = [server.folder for server in (self._valkey, self._postgres) if server is not None]
        folders = [str(folder) for folder in (self._sockets, *servers)]
        state = {"url": self.url, "pid": os.getpid(), "pids": self.pids, "folders": folders}
        temporary = self._data / "up.json.new"
        temporary.write_text(json.dumps(state))
        temporary.replace(self._data / "up.json")


@contextmanager
def signals_to(stopping: threading.Event) -> Iterator[None]:
    """SIGINT, SIGTERM and a closed terminal set the event meanwhile."""
    numbers = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as under nohup
        numbers.append(signal.SIGHUP)
    before = {number: signal.signal(number, lambda *_: stopping.set()) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def ensure_first_key(database: Database, path: Path) -> str:
    """The operator key of the project `default`, kept in `path` (0600); made when there is none that is valid."""
    from app.projects.service import create_key, ensure_project
    from app.security import KeyScope, find_caller, hash_secret

    known = path.read_text().strip() if path.exists() else ""
    if known and find_caller(database, hash_secret(known)) is not None:
        return known
    with database.transaction() as session:
        project = ensure_project(session, "default")
        _, secret = create_key(session, project.id, "first key", list(KeyScope))
    temporary = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    temporary.touch(mode=0o600)
    temporary.write_text(secret + "\n")
    temporary.replace(path)
    return secret


def _reap_adopted(known: set[int]) -> None:
    """Wait for orphans that became ours and have ended; our own children are Popen's to wait for."""
    for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split():
        if int(pid) not in known and _is_zombie(int(pid)):
            os.waitpid(int(pid), os.WNOHANG)


def _is_zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return False


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=2).status_code == 200
    except httpx.TransportError:
        return False


def _revealed(secret: SecretStr | None) -> str:
    assert secret is not None
    return secret.get_secret_value()


def _free_port(host: str) -> int:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])
