"""Warm runners: each slot has one that has imported the engine and waits to be told a job.

All are started by one thread that lives as long as the worker, because PDEATHSIG follows the thread that forked.
"""

from __future__ import annotations

import json
import logging
import os
import queue
import select
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from workers import processes
from workers.resources import SINGLE_THREAD

log = logging.getLogger(__name__)

#: What a runner writes when it is warm.
READY = b"ready\n"
_WARM_UP_S = 120.0


@dataclass
class Runner:
    """A process that runs one job, in a session of its own."""

    process: subprocess.Popen[bytes]
    token: str
    #: readable when the process has ended
    pidfd: int = field(repr=False)
    is_closed: bool = False

    def start(self, message: dict[str, Any]) -> None:
        """Tell it its job. A broken pipe shows as its end."""
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps(message).encode() + b"\n")
            self.process.stdin.close()
        except BrokenPipeError:
            log.warning("runner %d ended before its job began", self.process.pid)

    def is_alive(self) -> bool:
        """Whether it still runs."""
        return self.process.poll() is None

    def kill(self, grace_s: float = 0.0) -> None:
        """End it and all its descendants: SIGTERM to the runner, then after `grace_s` SIGKILL to everything."""
        if grace_s and self.is_alive():
            processes.send(self.process.pid, signal.SIGTERM)
            select.select([self.pidfd], [], [], grace_s)
        if self.is_closed:
            return
        processes.send_group(self.process.pid, signal.SIGKILL)
        left = processes.kill_marked(self.token)
        if left:
            log.error("%d processes of runner %d can't be killed", left, self.process.pid)
        self.close()

    def close(self) -> None:
        """Reap it once it has ended."""
        self.is_closed = True
        self.process.wait(timeout=30)
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                stream.close()
        os.close(self.pidfd)


class Nursery:
    """Keeps `slots` warm runners. `take` one, and `replace` it when its job has ended."""

    def __init__(self, slots: int) -> None:
        self._ready: queue.Queue[Runner] = queue.Queue()
        self._wanted: queue.Queue[bool] = queue.Queue()
        self._closing = threading.Event()
        for _ in range(slots):
            self.replace()
        self._thread = threading.Thread(target=self._tend, name="nursery", daemon=True)

    def open(self) -> None:
        """Begin to warm runners."""
        self._thread.start()

    def take(self, timeout_s: float = _WARM_UP_S) -> Runner:
        """A warm runner, as soon as there is one.

        Raises:
            TimeoutError: none became warm in time.
        """
        end = time.monotonic() + timeout_s
        while True:
            try:
                runner = self._ready.get(timeout=max(0.0, end - time.monotonic()))
            except queue.Empty:
                raise TimeoutError(f"no runner is warm after {timeout_s:.0f} s") from None
            if runner.is_alive():
                return runner
            runner.kill()
            self.replace()

    def keep(self, runner: Runner) -> None:
        """Put back one that was taken and not started."""
        self._ready.put(runner)

    def replace(self) -> None:
        """Ask for a fresh one."""
        self._wanted.put(True)

    def close(self) -> None:
        """Kill the warm ones and start no more."""
        self._closing.set()
        self._wanted.put(False)
        while True:
            try:
                self._ready.get_nowait().kill()
            except queue.Empty:
                return

    def _tend(self) -> None:
        delay_s = 0.5
        while self._wanted.get() and not self._closing.is_set():
            runner = spawn()
            if _becomes_ready(runner):
                self._ready.put(runner)
                delay_s = 0.5
                continue
            runner.kill()
            if not self._closing.wait(delay_s):
                log.error("a runner did not become warm; trying again")
                delay_s = min(2 * delay_s, 30.0)
                self.replace()
        self.close()


def spawn() -> Runner:
    """Start a runner; it is not warm yet."""
    token = uuid4().hex
    environment = os.environ | SINGLE_THREAD | {processes.TOKEN: token, "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(
        [sys.executable, "-m", "workers.runner", str(os.getpid())],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment,
        start_new_session=True,
    )
    return Runner(process, token, os.pidfd_open(process.pid))


def _becomes_ready(runner: Runner) -> bool:
    assert runner.process.stdout is not None
    readable, _, _ = select.select([runner.process.stdout], [], [], _WARM_UP_S)
    return bool(readable) and runner.process.stdout.readline() == READY
