"""Warm runners: each slot has one that has imported the engine and waits to be told a job.

All are started by one thread that lives as long as the worker, because PDEATHSIG follows the thread that forked.
"""

from __future__ import annotations

import json
import logging
import os
import queue
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import uuid4

from workers import processes
from workers.resources import SINGLE_THREAD

log = logging.getLogger(__name__)

#: What a runner says: it waits for a job; the end of its job is in the database and only knowledge is left to write.
READY, COMMITTED = "ready", "committed"
COMMAND = (sys.executable, "-m", "workers.runner")
_WARM_UP_S = 120.0
_MOST_JOBS = 50  # of one runner: whatever leaks is bounded


class Runner:
    """A process that runs one job after another, in a session of its own. It survives only jobs that end in order."""

    def __init__(self, command: Sequence[str]) -> None:
        self.token = uuid4().hex
        self._temporary = tempfile.mkdtemp(prefix="ws-runner-")  # what killed processes leave in it goes with it
        own = {processes.TOKEN: self.token, "PYTHONUNBUFFERED": "1", "TMPDIR": self._temporary}
        environment = os.environ | SINGLE_THREAD | own
        self._process = subprocess.Popen(
            [*command, str(os.getpid())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            start_new_session=True,
        )
        self._ended = os.pidfd_open(self._process.pid)  # readable once it has
        self._heard = b""
        self._is_closed = False
        self._jobs = 0
        self._own: frozenset[int] = frozenset()  # processes that belong to it between two jobs

    @property
    def pid(self) -> int:
        """Of the runner itself."""
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """None while it runs."""
        return self._process.poll()

    def start(self, message: Mapping[str, Any]) -> None:
        """Tell it a job. If it has ended meanwhile, `listen` shows that."""
        assert self._process.stdin is not None
        self._jobs += 1
        try:
            self._process.stdin.write(json.dumps(message).encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            log.warning("runner %d ended before its job began", self.pid)

    def listen(self, timeout_s: float) -> str | None:
        """The next word it says; None when it has ended, or has said nothing for so long: see `returncode`."""
        assert self._process.stdout is not None
        output = self._process.stdout.fileno()
        until = time.monotonic() + timeout_s
        while b"\n" not in self._heard:
            readable, _, _ = select.select([output, self._ended], [], [], max(0.0, until - time.monotonic()))
            content = os.read(output, 4096) if output in readable else b""
            if not content:
                return None
            self._heard += content
        word, _, self._heard = self._heard.partition(b"\n")
        return word.decode(errors="replace")

    def become_warm(self) -> bool:
        """Wait until it is; False if it ended or takes too long."""
        if self.listen(_WARM_UP_S) != READY:
            return False
        self._own = frozenset(processes.find_marked(self.token))
        return True

    def is_reusable(self) -> bool:
        """After a job that ended in order: whether it may run another. What the job has left running is killed."""
        for pid in set(processes.find_marked(self.token)) - self._own:
            processes.send(pid, signal.SIGKILL)
        return self._jobs < _MOST_JOBS and self.returncode is None

    def kill(self, grace_s: float = 0.0) -> None:
        """End it and all its descendants: SIGTERM to it, and after `grace_s` at most SIGKILL to everything."""
        if self._is_closed:
            return
        if grace_s and self.returncode is None:
            processes.send(self.pid, signal.SIGTERM)
            select.select([self._ended], [], [], grace_s)
        processes.send_group(self.pid, signal.SIGKILL)
        if left := processes.kill_marked(self.token):
            log.error("%d processes of runner %d can't be killed", left, self.pid)
        self._is_closed = True
        self._process.wait(timeout=30)
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()
        os.close(self._ended)
        shutil.rmtree(self._temporary, ignore_errors=True)


class Nursery:
    """Keeps `slots` warm runners. `take` one; afterwards `keep` it or, when it is gone, `replace` it.

    Args:
        slots: how many.
        command: what a runner is; our process id is appended.
    """

    def __init__(self, slots: int, command: Sequence[str] = COMMAND) -> None:
        self._command = command
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
            if runner.returncode is None:
                return runner
            runner.kill()
            self.replace()

    def keep(self, runner: Runner) -> None:
        """Put back one that waits for a job."""
        if self._closing.is_set():
            runner.kill()
        else:
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
            runner = Runner(self._command)
            if runner.become_warm():
                self.keep(runner)
                delay_s = 0.5
                continue
            runner.kill()
            if not self._closing.wait(delay_s):
                log.error("a runner did not become warm; trying again")
                delay_s = min(2 * delay_s, 30.0)
                self.replace()
        self.close()
