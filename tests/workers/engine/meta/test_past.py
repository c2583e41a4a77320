"""What past tasks are worth: portfolios that cover them, a surrogate that recognises which of them this one is like."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.workers.engine.meta.made import CONFIGURATIONS, COUNT, SIZE, make_losses, play
from workers.engine.catalog import get_strategy
from workers.engine.meta.past import Past
from workers.engine.meta.portfolio import greedy_portfolio
from workers.engine.meta.transfer import TransferSurrogate
from workers.engine.search.base import SearchContext
from workers.engine.space import FiniteSpace, Space, canonical
from workers.engine.types import Source, TaskKind


@given(st.integers(0, 1000), st.integers(1, 30), st.integers(1, 12))
def test_every_member_of_a_portfolio_lowers_the_regret_of_the_best_so_far_most(
    seed: int, tasks: int, size: int
) -> None:
    regrets = np.random.default_rng(seed).random((tasks, 12))
    chosen = greedy_portfolio(regrets, size)
    assert len(set(chosen)) == size
    for number in range(size):
        after = [
            np.minimum(regrets[:, chosen[:number]].min(axis=1, initial=1.0), column).mean() for column in regrets.T
        ]
        free = [after[place] for place in range(12) if place not in chosen[:number]]
        assert after[chosen[number]] == pytest.approx(min(free))


def test_regret_is_nought_for_the_best_and_one_for_the_worst_also_where_all_are_alike() -> None:
    past = Past(CONFIGURATIONS[:3], np.array([[0.2, 0.3, 0.4], [0.5, 0.5, 0.5]]))
    np.testing.assert_allclose(past.regrets, [[0, 0.5, 1], [0, 0, 0]])


def test_one_loss_tells_which_past_tasks_this_one_is_like() -> None:
    rng = np.random.default_rng(0)
    one, other = np.array([0.1, 0.5, 0.3, 0.6]), np.array([0.5, 0.1, 0.6, 0.3])
    losses = np.concatenate([each + 0.02 * rng.random((20, 4)) for each in (one, other)])
    surrogate = TransferSurrogate(Past(CONFIGURATIONS[:4], losses))
    assert surrogate.guesses([2], np.array([0.31])).expected_improvement().argmax() == 0
    assert surrogate.guesses([2], np.array([0.61])).expected_improvement().argmax() == 1
    assert surrogate.guesses([2], np.array([0.31])).regret_reduction().argmax() == 0
    assert surrogate.guesses([2], np.array([0.61])).regret_reduction().argmax() == 1


def test_transfer_needs_fewer_trials_than_the_portfolio_and_that_fewer_than_chance() -> None:
    past, new = Past(CONFIGURATIONS, make_losses(60, seed=1)), make_losses(30, seed=2)
    regret = {
        name: np.mean(
            [new[row][play(name, new[row], past, 6, seed=row)].min() - new[row].min() for row in range(len(new))]
        )
        for name in ("random", "portfolio", "transfer")
    }
    assert regret["transfer"] < 0.5 * regret["portfolio"]
    assert regret["portfolio"] < 0.8 * regret["random"]


@pytest.mark.parametrize("tasks", [1, 2])
def test_a_past_of_hardly_any_tasks_is_borne(tasks: int) -> None:
    asked = play("transfer", make_losses(1, seed=2)[0], Past(CONFIGURATIONS, make_losses(tasks, seed=1)), COUNT)
    assert sorted(asked) == list(range(COUNT))


def test_what_the_space_does_not_have_is_not_proposed() -> None:
    space = Space(["linear", "svm"], TaskKind.BINARY)
    older = [{key: value for key, value in one.items() if key != "prep_columns"} for one in space.defaults()]
    known = [*space.defaults(), *older, *Space(["lightgbm"], TaskKind.BINARY).defaults()]
    past = Past(known, np.random.default_rng(0).random((5, len(known))))
    for name in ("portfolio", "transfer"):
        context = SearchContext(
            space=space, size=SIZE, seed=0, workers=1, seconds=None, trials=20, n_folds=1, past=past
        )
        strategy = get_strategy(name)(context)
        proposals = [strategy.ask() for _ in range(len(space.defaults()))]
        assert {proposal.source for proposal in proposals if proposal} == {Source.PORTFOLIO}
        asked = {canonical(proposal.configuration) for proposal in proposals if proposal}
        assert asked == set(map(canonical, space.defaults()))


@pytest.mark.parametrize("tasks", [0, 5])
@pytest.mark.parametrize("name", ["portfolio", "transfer"])
def test_a_past_without_tasks_or_of_other_learners_is_no_past(name: str, tasks: int) -> None:
    space = Space(["linear"], TaskKind.BINARY)
    past = Past(CONFIGURATIONS, make_losses(5, seed=1)) if tasks else Past(space.defaults(), np.zeros((0, 3)))
    context = SearchContext(space=space, size=SIZE, seed=0, workers=1, seconds=None, trials=9, n_folds=1, past=past)
    strategy = get_strategy(name)(context)
    proposals = [strategy.ask() for _ in range(len(space.defaults()) + 1)]
    assert [proposal.source for proposal in proposals if proposal] == [Source.DEFAULT] * 3 + [Source.RANDOM]


def test_a_list_of_configurations_is_a_space() -> None:
    space, rng = FiniteSpace(CONFIGURATIONS), np.random.default_rng(0)
    slots = [space.encode(configuration) for configuration in CONFIGURATIONS]
    assert all(0 <= value <= 1 for each in slots for value in each.values())
    assert slots[0]["a.width"] == 0.0
    assert slots[-2]["a.width"] == 1.0
    assert slots[20]["a.width"] == pytest.approx(10 / 19)  # on a log scale
    assert slots[0]["a.form=null"] == 1.0
    for configuration in CONFIGURATIONS:
        neighbour = space.mutated(configuration, rng)
        assert neighbour != configuration
        assert neighbour["learner"] == configuration["learner"]
    assert FiniteSpace(CONFIGURATIONS[:1]).mutated(CONFIGURATIONS[0], rng) == CONFIGURATIONS[0]
    assert space.sample(rng, "b")["learner"] == "b"
