"""Is what a challenger knows worth more than what the champion knows? Decided on tasks that nothing was trained on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ..types import Configuration
from .recorded import Found, RecordedTask, past_of, replay

Array = NDArray[np.float64]

SHARES = (0.02, 0.05, 0.1, 0.2, 0.4)  #: of the seconds of a cold search, at which regret counts
FEWEST_GROUPS = 30  #: of replay tasks: on fewer nothing is decided
_NEAREST = 300  # known tasks that a search learns from
_RESAMPLES = 2_000
_CONFIDENCE = 0.975


class Embedding(Protocol):
    """Places a task among others."""

    def embed(self, metafeatures: Mapping[str, float]) -> Array:
        """(numbers,) of one task."""
        ...


@dataclass(frozen=True)
class Verdict:
    """By how much the challenger's mean regret is lower than the champion's, over groups of data."""

    groups: int
    champion: float  #: mean regret
    challenger: float
    gain: float
    low: float  #: end of the 95 % interval of the gain, by a paired bootstrap over groups

    @property
    def is_won(self) -> bool:
        """Whether the challenger is proven better."""
        return self.groups >= FEWEST_GROUPS and self.low > 0


def judge(groups: Sequence[str], champion: Array, challenger: Array) -> Verdict:
    """From the regrets (tasks,) of both on the same tasks, of which some may be of one group."""
    names = sorted(set(groups))
    of = np.array([names.index(group) for group in groups], dtype=np.intp)
    each = np.array([(champion - challenger)[of == number].mean() for number in range(len(names))])
    if not len(each):
        return Verdict(0, 0.0, 0.0, 0.0, 0.0)
    rng = np.random.default_rng(0)
    means = each[rng.integers(len(each), size=(_RESAMPLES, len(each)))].mean(axis=1)
    low = float(np.quantile(means, 1 - _CONFIDENCE))
    return Verdict(len(each), float(champion.mean()), float(challenger.mean()), float(each.mean()), low)


def regrets_with(
    embedding: Embedding,
    known: Sequence[RecordedTask],
    judged: Sequence[RecordedTask],
    configurations: Mapping[str, Configuration],
    on_task: Callable[[int], None] = lambda number: None,
) -> Array:
    """(judged tasks,) mean regret of `auto` on its way, its past weighed by this embedding.

    Args:
        embedding: places tasks.
        known: the past.
        judged: none of them known.
        configurations: by key.
        on_task: told how many are done.
    """
    points = [embedding.embed(task.metafeatures) for task in known]
    found = []
    for number, task in enumerate(judged):
        alike = [place for place, other in enumerate(known) if other.kind in task.kind.alike]
        here = embedding.embed(task.metafeatures)
        distances = np.array([np.linalg.norm(points[place] - here) for place in alike])
        near = np.argsort(distances, kind="stable")[:_NEAREST]
        past = past_of([known[alike[place]] for place in near], distances[near], configurations)
        cold = replay("auto", task, configurations, None)
        found.append(regret_on_the_way(task, replay("auto", task, configurations, past), cold))
        on_task(number + 1)
    return np.array(found)


def regret_on_the_way(task: RecordedTask, found: Found, cold: Found) -> float:
    """Mean regret at shares of the seconds that a cold search takes."""
    finite = [loss for loss in task.losses.values() if not np.isnan(loss)]
    if not finite or not len(cold.seconds) or max(finite) <= min(finite):
        return 0.0
    low, high = min(finite), max(finite)
    return float(np.mean([(found.at(share * cold.seconds[-1], high) - low) / (high - low) for share in SHARES]))
