"""A made table: tasks of three traits, on a list of configurations."""

from __future__ import annotations

from typing import Any

import numpy as np

from workers.engine.catalog import get_strategy
from workers.engine.learners.base import Size
from workers.engine.meta.past import Past
from workers.engine.search.base import SearchContext
from workers.engine.space import FiniteSpace, canonical
from workers.engine.types import Configuration, Trial, TrialStatus

SIZE = Size(rows=1000, columns=10, classes=2)
COUNT = 40
CONFIGURATIONS: list[Configuration] = [
    {"learner": "ab"[number % 2], "width": 10 ** (number // 2 / 10), "form": ["x", None][number % 3 == 0]}
    for number in range(COUNT)
]


def make_losses(tasks: int, seed: int) -> np.ndarray:
    """(tasks, COUNT): three traits of a task decide how configurations do on it."""
    rng = np.random.default_rng(0)
    traits = rng.normal(size=(3, COUNT))
    rng = np.random.default_rng(seed)
    return 1 / (1 + np.exp(-(rng.normal(size=(tasks, 3)) @ traits + rng.normal(size=(tasks, 1)))))


def play(name: str, losses: np.ndarray, past: Past | None, asks: int, seed: int = 0, **known: Any) -> list[int]:
    """Places of what a strategy asks for on one task."""
    context = SearchContext(
        space=FiniteSpace(CONFIGURATIONS),
        size=SIZE,
        seed=seed,
        workers=1,
        seconds=None,
        trials=asks,
        n_folds=1,
        past=past,
        **known,
    )
    strategy, asked = get_strategy(name)(context), []
    places = {canonical(one): place for place, one in enumerate(CONFIGURATIONS)}
    for number in range(asks):
        proposal = strategy.ask()
        assert proposal is not None
        asked.append(places[canonical(proposal.configuration)])
        loss = float(losses[asked[-1]])
        strategy.tell(Trial(number=number, proposal=proposal, status=TrialStatus.SUCCEEDED, loss=loss))
    return asked
