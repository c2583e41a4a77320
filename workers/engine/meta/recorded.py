"""Searches replayed on recorded trials: what a strategy would have found, and when, without fitting anything."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..catalog import DEFAULT_METRIC, LEARNERS, get_strategy
from ..learners.base import Size
from ..search.base import SKEWED, SearchContext
from ..space import FiniteSpace, Space, canonical
from ..types import Configuration, TaskKind, Trial, TrialStatus
from .constants import relative_loss
from .evaluations import TELLS_NOTHING, key_of
from .likeness import likeness_of
from .matrix import Attempts
from .past import Past

Array = NDArray[np.float64]

_FAILED_S = 1.0  # of a trial that says nothing of its seconds
_CLOSE = 1e-9
_PATIENCE = 12  # configurations in a row that were not recorded


@dataclass(frozen=True)
class RecordedTask:
    """One task with its trials at full fidelity, by configuration key."""

    group: str
    kind: TaskKind
    metafeatures: Mapping[str, float]
    constants: Mapping[str, float]
    losses: dict[str, float] = field(default_factory=dict)  #: relative, of the default metric; NaN: failed
    seconds: dict[str, float] = field(default_factory=dict)
    owner: str | None = None  #: whose it is; None: everybody's

    @property
    def size(self) -> Size:
        """Of its table."""
        seen = self.metafeatures
        return Size(rows=int(seen["rows"]), columns=int(seen["columns"]), classes=int(seen.get("classes", 0)))

    def add(self, evaluation: Mapping[str, Any]) -> str | None:
        """Take note of an evaluation; its key, or None if it was not a full one."""
        key = key_of(evaluation)
        if key is None or evaluation["status"] in TELLS_NOTHING:
            return None
        metric = DEFAULT_METRIC[self.kind]
        score = evaluation["metrics"].get(metric)
        self.losses[key] = float("nan") if score is None else relative_loss(metric, score, self.constants[metric])
        self.seconds[key] = evaluation.get("cpu_seconds") or _FAILED_S
        return key


@dataclass(frozen=True)
class Found:
    """What a search had, trial by trial."""

    best: Array  #: (trials,) relative loss so far
    seconds: Array  #: (trials,) spent by then

    def when(self, goal: float) -> float | None:
        """Seconds until a loss was reached; None if it never was."""
        reached = np.flatnonzero(self.best <= goal + _CLOSE)
        return float(self.seconds[reached[0]]) if len(reached) else None

    def at(self, seconds: float, before: float) -> float:
        """The best loss by then; `before` the first trial ended."""
        done = int(np.searchsorted(self.seconds, seconds, side="right"))
        return min(float(self.best[done - 1]), before) if done else before


class RecordedSpace(FiniteSpace):
    """The engine's own space, cut down to what was recorded."""

    def __init__(self, whole: Space, recorded: Sequence[Configuration]) -> None:
        self._whole = whole
        super().__init__([one for one in recorded if whole.has(one)])
        self._known = {canonical(one) for one in self.configurations}

    def defaults(self) -> list[Configuration]:
        """Hand-written ones that were recorded."""
        return [one for one in self._whole.defaults() if canonical(one) in self._known]

    def defaults_by_learner(self) -> dict[str, list[Configuration]]:
        """The same for each learner; ones that were not recorded keep their place."""
        return self._whole.defaults_by_learner()

    def encode(self, configuration: Configuration) -> dict[str, float]:
        """As jobs do, so that networks read what they have practised on."""
        return self._whole.encode(configuration)

    def cost(self, configuration: Configuration, size: Size) -> float:
        """As the engine predicts it."""
        return self._whole.cost(configuration, size)


def replay(
    strategy: str,
    task: RecordedTask,
    configurations: Mapping[str, Configuration],
    past: Past | None,
    **more: Any,
) -> Found:
    """A search on one task, until it asks for what was not recorded again and again, or not at full fidelity.

    Args:
        strategy: by name.
        task: what it is told of.
        configurations: by key.
        past: what it knows of other tasks.
        more: of the search's context.
    """
    keys = {canonical(configurations[key]): key for key in task.losses}
    space = RecordedSpace(Space(LEARNERS, task.kind, task.size), [configurations[key] for key in task.losses])
    context = SearchContext(
        space=space,
        size=task.size,
        seed=0,
        workers=1,
        seconds=None,
        trials=len(keys),
        n_folds=3,
        is_skewed=task.metafeatures.get("target_skew", 0.0) > SKEWED,
        past=past,
        **more,
    )
    searcher = get_strategy(strategy)(context)
    losses: list[float] = []
    seconds: list[float] = []
    strangers = 0  # in a row
    while strangers < _PATIENCE and (proposal := searcher.ask()) is not None and proposal.fidelity.is_full:
        key = keys.get(canonical(proposal.configuration))
        if key is None:  # nobody knows: as if it had failed at once
            strangers += 1
            searcher.tell(Trial(number=-strangers, proposal=proposal, status=TrialStatus.FAILED))
            continue
        strangers = 0
        failed = bool(np.isnan(task.losses[key]))
        losses.append(np.inf if failed else task.losses[key])
        seconds.append(task.seconds[key])
        searcher.tell(
            Trial(
                number=len(losses) - 1,
                proposal=proposal,
                status=TrialStatus.FAILED if failed else TrialStatus.SUCCEEDED,
                loss=None if failed else losses[-1],
                seconds=seconds[-1],
            )
        )
    return Found(np.minimum.accumulate(losses), np.cumsum(seconds))


def past_of(
    tasks: Sequence[RecordedTask], distances: Array, configurations: Mapping[str, Configuration]
) -> Past | None:
    """What these tasks say, weighed by how near they are; None if too little is known."""
    order = np.argsort(distances, kind="stable")
    rows = [
        (row, key, loss, tasks[each].seconds[key])
        for row, each in enumerate(order)
        for key, loss in tasks[each].losses.items()
    ]
    if not rows:
        return None
    numbers, keys, losses, seconds = zip(*rows, strict=True)
    made = Attempts(numbers, keys, losses, seconds).to_past(configurations, likeness_of(distances[order]))
    return None if made is None else made[0]
