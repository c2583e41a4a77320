"""Trial processes: forked from a warm template, bounded in time and memory, each a trial's only victim.

Children report by a JSON file; nothing they write is ever unpickled. A thread samples memory and clocks every 50 ms.
"""

from __future__ import annotations

import json
import multiprocessing
import shutil
import signal
import sys
import threading
import time
from dataclasses import dataclass, field, replace
from multiprocessing.connection import wait as wait_for
from multiprocessing.context import ForkServerProcess
from multiprocessing.forkserver import _forkserver
from pathlib import Path
from types import ModuleType
from typing import Any

from ..catalog import LEARNERS
from ..types import Proposal, Trial, TrialStatus
from . import child
from .prepare import PreparedTask
from .processes import children, kill_tree, memory_mb, session, tree
from .trial import salvage

_SAMPLE_S = 0.05
_MOST_PROCESSES = 32  # of one trial
_GRACE_S = 1.0  # a trial that ends by itself in time is better than one killed

_MOST_REPORT = 2**20  # bytes
_SWEEP_S = 2.0  # what a trial has left behind must be gone by then

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["workers.engine.evaluation.template"])

#: Trial processes of this process's pools; guarded by the lock, so that none is seen before it is known.
_known: set[int] = set()
_forking = threading.Lock()


@dataclass(frozen=True)
class Finished:
    """A trial or a refit that has ended, and the folder with what it left."""

    trial: Trial
    folder: Path
    is_refit: bool


@dataclass
class _Running:
    work: child.Work
    process: ForkServerProcess
    started: float
    peak_mb: float = 0.0
    verdict: tuple[TrialStatus, str] | None = field(default=None)

    def sample(self) -> tuple[TrialStatus, str] | None:
        """What is over its limit, if anything is."""
        members = tree(self.process.pid or 0, _MOST_PROCESSES)
        if len(members) > _MOST_PROCESSES:
            return TrialStatus.CRASHED, f"started more than {_MOST_PROCESSES} processes"
        memory = memory_mb(members)
        self.peak_mb = max(self.peak_mb, memory)
        if memory > self.work.memory_mb:
            return TrialStatus.OUT_OF_MEMORY, f"used {memory:.0f} MB; the limit is {self.work.memory_mb} MB"
        seconds = self.work.seconds
        if seconds is not None and time.monotonic() - self.started > seconds * 1.1 + _GRACE_S:
            return TrialStatus.TIMED_OUT, f"took longer than {seconds:.1f} s"
        return None


def warm_up() -> None:
    """Start the template and have it fork once, so that the first trial starts in milliseconds. About 2 s."""
    process = _CONTEXT.Process(target=_nothing)
    _start(process)
    _join(process)


def _nothing() -> None:
    pass


class TrialPool:
    """Runs up to `workers` trials side by side, `threads` cores each. Not thread-safe: one owner submits and waits."""

    def __init__(self, prepared: PreparedTask, scratch: Path, *, workers: int, threads: int = 1) -> None:
        self.prepared, self.scratch = prepared, scratch
        self.workers, self.threads = workers, threads
        self._running: dict[int, _Running] = {}  # by sentinel
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._watcher = threading.Thread(target=self._watch, daemon=True, name="trial-watch")
        self._watcher.start()

    @property
    def running(self) -> int:
        """How many trials and refits have not been handed out by `wait`."""
        return len(self._running)

    @property
    def has_room(self) -> bool:
        """Whether another can be submitted."""
        return self.running < self.workers

    def submit(self, number: int, proposal: Proposal, *, seconds: float | None, memory_mb: int) -> None:
        """Start a trial; its folder is `scratch/trial_<number>`."""
        self._start(
            child.Work(
                prepared=self.prepared.folder,
                folder=self.scratch / f"trial_{number}",
                number=number,
                proposal=proposal,
                threads=self.threads,
                seconds=seconds,
                memory_mb=memory_mb,
                learners=dict(LEARNERS),
            )
        )

    def submit_refit(
        self,
        number: int,
        proposal: Proposal,
        *,
        iterations: int | None,
        smear: float | None,
        seconds: float | None,
        memory_mb: int,
    ) -> None:
        """Start a refit of trial `number` on all rows; its folder is `scratch/refit_<number>`."""
        self._start(
            child.Work(
                prepared=self.prepared.folder,
                folder=self.scratch / f"refit_{number}",
                number=number,
                proposal=proposal,
                threads=self.threads,
                seconds=seconds,
                memory_mb=memory_mb,
                is_refit=True,
                iterations=iterations,
                smear=smear,
                learners=dict(LEARNERS),
            )
        )

    def wait(self, timeout: float | None) -> list[Finished]:
        """What has ended, in order of number; empty after `timeout` seconds or when nothing runs."""
        ended = wait_for(list(self._running), timeout) if self._running else []
        finished = [self._collect(sentinel) for sentinel in ended if isinstance(sentinel, int)]
        return sorted(finished, key=lambda one: one.trial.number)

    def stop_all(self, reason: str) -> list[Finished]:
        """End everything that runs, as if its time were over: folds that were done count."""
        with self._lock:
            current = dict(self._running)
            for running in current.values():
                if running.verdict is None and running.process.is_alive():
                    running.verdict = TrialStatus.TIMED_OUT, reason
        for running in current.values():
            kill_tree(running.process.pid or 0)
        finished = [self._collect(sentinel) for sentinel in current]
        return sorted(finished, key=lambda one: one.trial.number)

    def kill_all(self) -> None:
        """End everything that runs; it is as if it had never been submitted."""
        with self._lock:
            doomed = list(self._running.values())
            self._running.clear()
        for running in doomed:
            kill_tree(running.process.pid or 0)
            _join(running.process)
        _sweep()

    def close(self) -> None:
        """Kill what runs and stop watching."""
        self.kill_all()
        self._closing.set()
        self._watcher.join()

    def _start(self, work: child.Work) -> None:
        shutil.rmtree(work.folder, ignore_errors=True)
        work.folder.mkdir(parents=True)
        process = _CONTEXT.Process(target=child.main, args=(work, _template_pid()), daemon=True)
        _start(process)
        with self._lock:
            self._running[process.sentinel] = _Running(work, process, time.monotonic())

    def _collect(self, sentinel: int) -> Finished:
        with self._lock:
            running = self._running.pop(sentinel)
        _join(running.process)
        _sweep()
        return Finished(_trial(running, self.prepared), running.work.folder, running.work.is_refit)

    def _watch(self) -> None:
        while not self._closing.wait(_SAMPLE_S):
            with self._lock:
                current = list(self._running.values())
            for running in current:
                if running.verdict is None and (verdict := running.sample()) is not None:
                    running.verdict = verdict
                    kill_tree(running.process.pid or 0)


def _start(process: ForkServerProcess) -> None:
    """Start without the caller's main module, which every child would import again: a second for nothing."""
    with _forking:
        main = sys.modules["__main__"]
        sys.modules["__main__"] = ModuleType("__main__")
        try:
            process.start()
        finally:
            sys.modules["__main__"] = main
        _known.add(process.pid or 0)


def _join(process: ForkServerProcess) -> None:
    process.join()
    with _forking:
        _known.discard(process.pid or 0)


def _orphans(template: int) -> list[int]:
    """What trials have abandoned and the template has adopted: in no session of ours, unlike others' children."""
    with _forking:
        return [
            pid for pid in children(template) if pid not in _known and session(pid) not in (None, session(template))
        ]


def _sweep() -> None:
    """End what ended trials have left behind, to the last."""
    template, until = _template_pid(), time.monotonic() + _SWEEP_S
    while (orphans := _orphans(template)) and time.monotonic() < until:
        for pid in orphans:
            kill_tree(pid)
        time.sleep(0.002)


def _template_pid() -> int:
    _forkserver.ensure_running()
    return int(_forkserver._forkserver_pid)  # type: ignore[attr-defined]


def _trial(running: _Running, prepared: PreparedTask) -> Trial:
    work = running.work
    trial = Trial(
        number=work.number,
        proposal=work.proposal,
        status=TrialStatus.CRASHED,
        memory_mb=round(running.peak_mb, 1),
        seconds=time.monotonic() - running.started,
    )
    if running.verdict is not None:
        status, reason = running.verdict
        if status is not TrialStatus.TIMED_OUT:
            return replace(trial, status=status, reason=reason)
        if not work.is_refit and (partial := salvage(prepared, work.folder)) is not None:
            return _told(trial, vars(partial))
        return replace(trial, status=status, reason=reason, timed=True)
    try:
        return _told(trial, _read_outcome(work.folder))
    except (OSError, ValueError, TypeError, KeyError):  # it left no report, or not the one that `trial` writes
        return replace(trial, reason=_how_it_ended(running.process.exitcode))


def _told(trial: Trial, outcome: dict[str, Any]) -> Trial:
    """The trial with what its process has reported."""
    known = {key: value for key, value in outcome.items() if key not in ("seconds", "memory_mb")}
    return replace(
        trial,
        **known
        | {
            "status": TrialStatus(outcome["status"]),
            "fold_losses": tuple(outcome["fold_losses"]),
            "best_iterations": tuple(outcome["best_iterations"]),
            "smears": tuple(outcome["smears"]),
            "seconds": outcome["seconds"] or trial.seconds,
            "memory_mb": max(trial.memory_mb, round(outcome["memory_mb"], 1)),
        },
    )


def _how_it_ended(code: int | None) -> str:
    if code == -signal.SIGKILL:
        return "killed (signal 9), most likely because the machine ran out of memory"
    if code is not None and code < 0:
        return f"ended by signal {-code} ({signal.strsignal(-code)})"
    return f"ended with exit code {code} and no result"


def _read_outcome(folder: Path) -> dict[str, Any]:
    with (folder / "outcome.json").open() as file:
        read: dict[str, Any] = json.loads(file.read(_MOST_REPORT))
    return read
