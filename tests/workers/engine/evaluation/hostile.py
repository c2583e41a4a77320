"""Learners that do what no learner should. Named by their own module, so that a trial process can import them."""

from __future__ import annotations

import ctypes
import os
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from workers.engine.learners.base import FitContext, Learner
from workers.engine.learners.dummy import Dummy
from workers.engine.types import TaskKind


class _Hostile:
    def __init__(self, deed: Callable[[], None]) -> None:
        self.deed = deed

    def fit(self, X: Any, y: Any, sample_weight: Any = None, eval_set: Any = None) -> _Hostile:
        self.deed()
        return self


class _Guest(Dummy):
    """Answers as it should, after its deed."""

    def __init__(self, context: FitContext, deed: Callable[[], None]) -> None:
        super().__init__(context)
        self.deed = deed

    def fit(self, X: Any, y: Any, sample_weight: Any = None, eval_set: Any = None) -> Dummy:
        self.deed()
        return super().fit(X, y, sample_weight)


def _guest(deed: Callable[[], None]) -> Learner:
    return replace(_learner(deed), build=lambda params, context: _Guest(context, deed))


def _learner(deed: Callable[[], None]) -> Learner:
    return Learner(
        name=deed.__name__,
        kinds=frozenset(TaskKind),
        space=(),
        defaults=({},),
        build=lambda params, context: _Hostile(deed),
        cost=lambda params, size: 0.01,
    )


def _eat_memory() -> None:
    hoard = []
    while True:
        hoard.append(bytearray(20_000_000))
        time.sleep(0.005)


def _segfault() -> None:
    ctypes.string_at(0)


def _fork_wildly() -> None:
    """As fast as it can, each child a session of its own; bounded, so that a pool that fails does not take the host."""
    for _ in range(2000):
        if os.fork() == 0:
            os.setsid()
            time.sleep(30)
            os._exit(0)
    time.sleep(30)


def _loop_for_ever() -> None:
    while True:
        continue


def _exit_at_once() -> None:
    os._exit(0)


def _break_pipes() -> None:
    sys.stdout.write("\x00{}garbage\n" * 1000)
    for descriptor in range(256):
        try:
            os.close(descriptor)
        except OSError:
            continue
    raise ValueError("closed everything")


def _raise() -> None:
    raise RuntimeError("this configuration can't be fitted")


_fits: list[float] = []


def _stall_in_the_third_fold() -> None:
    _fits.append(time.monotonic())
    time.sleep(0.05 if len(_fits) < 3 else 60)


def _leave_daemons() -> None:
    """A child in a session of its own, and a grandchild whose parent has ended."""
    for ends_at_once in (False, True):
        if os.fork() == 0:
            os.setsid()
            if not ends_at_once or os.fork() == 0:
                time.sleep(60)
            os._exit(0)
    time.sleep(0.1)


def _leave_daemons_and_loop() -> None:
    _leave_daemons()
    _loop_for_ever()


def _forge_a_report() -> None:
    Path("outcome.json").write_text('{"status": "succeeded", "loss": [1]}')
    os._exit(0)


EAT_MEMORY = _learner(_eat_memory)
SEGFAULT = _learner(_segfault)
FORK_WILDLY = _learner(_fork_wildly)
LOOP_FOR_EVER = _learner(_loop_for_ever)
EXIT_AT_ONCE = _learner(_exit_at_once)
BREAK_PIPES = _learner(_break_pipes)
RAISE = _learner(_raise)
FORGE_A_REPORT = _learner(_forge_a_report)
LEAVE_DAEMONS = _guest(_leave_daemons)
LEAVE_DAEMONS_AND_LOOP = _learner(_leave_daemons_and_loop)
STALL = _guest(_stall_in_the_third_fold)
