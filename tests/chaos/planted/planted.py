"""Learners that only these tests know, by their own module, so that trial processes can import them."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sklearn.dummy import DummyClassifier

from workers.engine.learners.base import FitContext, Learner
from workers.engine.learners.wrap import Wrapped
from workers.engine.space import Float
from workers.engine.types import TaskKind

SLOW_S = 0.5


class _Poison:
    """Kills the runner that tries it: the parent of the trial's template."""

    def fit(self, X: Any, y: Any, sample_weight: Any = None, eval_set: Any = None) -> _Poison:
        stat = Path(f"/proc/{os.getppid()}/stat").read_text()
        os.kill(int(stat.rpartition(")")[2].split()[1]), signal.SIGKILL)
        time.sleep(60)
        return self


def _build_slow(params: Mapping[str, Any], context: FitContext) -> Wrapped:
    """Class frequencies, after some time for each fold."""
    time.sleep(SLOW_S)
    return Wrapped(lambda n: DummyClassifier(), context)


def _learner(name: str, build: Any, *space: Float) -> Learner:
    return Learner(
        name=name,
        kinds=frozenset({TaskKind.BINARY}),
        space=space,
        defaults=({parameter.name: parameter.default for parameter in space},),
        build=build,
        cost=lambda params, size: 0.01,
    )


POISON = _learner("poison", lambda params, context: _Poison())
#: Its configurations differ, so that a job can try as many as it likes.
SLOW = _learner("slow", _build_slow, Float(name="nothing", low=0.0, high=1.0, default=0.5))
