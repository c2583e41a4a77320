"""Which configurations all seed tasks should try: greedy portfolios, and what was chosen."""

from __future__ import annotations

import json

import numpy as np

from workers.engine.space import Space
from workers.engine.types import TaskKind
from workers.seed import SHORTLIST, TOLD_OF, first_ones
from workers.shortlist import CANDIDATES, candidates, portfolios


def test_a_portfolio_takes_what_others_lack_and_the_next_begins_with_what_is_left() -> None:
    regrets = np.array([[0.0, 3.0, 0.1, 2.0], [3.0, 0.0, 2.9, 2.0], [0.9, 2.0, 1.0, 1.5]]) / 3
    assert list(portfolios(regrets)) == [0, 1, 2, 3]


def test_all_are_chosen_once_even_if_all_are_alike() -> None:
    assert sorted(portfolios(np.ones((3, 5)))) == list(range(5))


def test_what_was_chosen_is_of_todays_space_and_none_of_the_first() -> None:
    for kind in (TaskKind.BINARY, TaskKind.REGRESSION):
        space = Space(TOLD_OF, kind)
        found = json.loads(SHORTLIST.read_text())[kind.sort]
        assert len(found) >= 8
        assert all(space.has(one) for one in found)
        assert not [one for one in found if one in [first.configuration for first in first_ones(space)]]


def test_candidates_are_new_and_as_many_of_each_learner_as_is_said() -> None:
    drawn = candidates(TaskKind.BINARY)
    names = [one.configuration["learner"] for one in drawn]
    assert {name: names.count(name) for name in CANDIDATES} == dict(CANDIDATES)
    assert candidates(TaskKind.BINARY) == drawn
