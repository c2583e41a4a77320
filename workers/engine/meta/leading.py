"""The metamodels that lead searches: trained for a sort of target, judged by the searches that they lead."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ..catalog import LEARNERS, get_metamodel
from ..space import Space
from ..types import Configuration, TaskKind
from .judging import Verdict, judge, regret_on_the_way
from .metamodel import Metamodel
from .past import Past
from .recorded import Found, RecordedTask, past_of, replay

Array = NDArray[np.float64]

SORTS: Final = (TaskKind.BINARY, TaskKind.REGRESSION)  #: of targets, one kind for all that are alike
FEWEST_TASKS: Final = 50  #: of a sort, for a network to learn from
_MOST_TASKS = 1_000  # that it learns from


class School:
    """Past tasks of one sort of target: those that are learned from, and those on which that is judged.

    Args:
        sort: any kind of it.
        learned: tasks of every kind.
        judged: tasks of every kind, none of them learned from.
        configurations: by key.
    """

    def __init__(
        self,
        sort: TaskKind,
        learned: Sequence[RecordedTask],
        judged: Sequence[RecordedTask],
        configurations: Mapping[str, Configuration],
    ) -> None:
        self.sort = sort
        self.learned = [task for task in learned if task.kind in sort.alike][:_MOST_TASKS]
        self.judged = [task for task in judged if task.kind in sort.alike]
        self._configurations = configurations

    def train(self, name: str) -> Metamodel | None:
        """A metamodel of this name; None if too little is known. The same tasks give the same."""
        if len(self.learned) < FEWEST_TASKS or self._past is None:
            return None
        return get_metamodel(name).train(self._past, Space(LEARNERS, self.sort), seed=0)

    def judge(
        self,
        name: str,
        champion: Metamodel | None,
        challenger: Metamodel,
        on_task: Callable[[int], None] = lambda number: None,
    ) -> Verdict:
        """By the searches of the strategy of this name; without a champion it does as the portfolio.

        Args:
            name: of a strategy and its metamodel.
            champion: in use.
            challenger: that would take its place.
            on_task: told how many judged tasks are done, twice over.
        """
        before, after = (self._regrets(name, one, on_task) for one in (champion, challenger))
        return judge([task.group for task in self.judged], before, after)

    def _regrets(self, name: str, leader: Metamodel | None, on_task: Callable[[int], None]) -> Array:
        leaders = {} if leader is None else {name: leader}
        found = []
        for number, (task, cold) in enumerate(zip(self.judged, self._cold, strict=True)):
            led = replay(name, task, self._configurations, self._past, metamodels=leaders)
            found.append(regret_on_the_way(task, led, cold))
            on_task(number + 1)
        return np.array(found)

    @cached_property
    def _past(self) -> Past | None:
        return past_of(self.learned, np.ones(len(self.learned)), self._configurations)

    @cached_property
    def _cold(self) -> list[Found]:
        return [replay("auto", task, self._configurations, None) for task in self.judged]
