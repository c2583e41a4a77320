"""Surrogates that know what they know, neighbours that are points of the space, and searches that beat chance."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.engine.catalog import LEARNERS, get_strategy
from workers.engine.learners.base import Size
from workers.engine.search.base import SearchContext
from workers.engine.search.bayesian import expected_improvement, normal_scores
from workers.engine.search.halving import AsynchronousHalving, Hyperband
from workers.engine.search.surrogates import Forest, GaussianProcess, Surrogate
from workers.engine.space import Space, canonical
from workers.engine.types import Configuration, Fidelity, TaskKind, Trial, TrialStatus

SIZE = Size(rows=800, columns=10, classes=2)
SPACE = Space(tuple(LEARNERS), TaskKind.BINARY, SIZE)


def context(seed: int, rows: int = 800) -> SearchContext:
    size = Size(rows=rows, columns=10, classes=2)
    return SearchContext(space=SPACE, size=size, seed=seed, workers=2, seconds=None, trials=None, n_folds=5)


def loss_of(configuration: Configuration) -> float:
    """Least where numbers are low on their scale, of CatBoost before all."""
    numbers = [value for slot, value in SPACE.encode(configuration).items() if "=" not in slot]
    bias = {"catboost": 0.0, "lightgbm": 0.05}.get(configuration["learner"], 0.3)
    return float(bias + np.mean([(value - 0.3) ** 2 for value in numbers] or [0.5]))


def least_loss(strategy_name: str, seed: int, trials: int) -> float:
    strategy, least = get_strategy(strategy_name)(context(seed)), np.inf
    for number in range(trials):
        proposal = strategy.ask()
        assert proposal is not None
        loss = loss_of(proposal.configuration)
        least = min(least, loss)
        strategy.tell(
            Trial(number=number, proposal=proposal, status=TrialStatus.SUCCEEDED, loss=loss, fold_losses=(loss,) * 5)
        )
    return least


@pytest.mark.parametrize("name", ["gaussian_process", "forest", "evolution"])
def test_a_search_that_learns_beats_chance(name: str) -> None:
    learned = [least_loss(name, seed, 60) for seed in range(2)]
    by_chance = [least_loss("random", seed, 60) for seed in range(2)]
    assert np.mean(learned) < 0.9 * np.mean(by_chance)


@pytest.mark.parametrize("surrogate", [GaussianProcess(), Forest()])
def test_a_surrogate_predicts_between_what_it_has_seen(surrogate: Surrogate) -> None:
    rng = np.random.default_rng(0)
    X = rng.random((120, 3))
    surrogate.fit(X, np.sin(3 * X[:, 0]) - X[:, 1])
    fresh = rng.random((50, 3))
    mean, std = surrogate.predict(fresh)
    assert np.corrcoef(mean, np.sin(3 * fresh[:, 0]) - fresh[:, 1])[0, 1] > 0.9
    assert (std > 0).all()


def test_a_gaussian_process_is_unsure_far_away_and_sure_where_it_has_been() -> None:
    surrogate, X = GaussianProcess(), np.linspace(0, 0.4, 20)[:, None]
    surrogate.fit(X, np.cos(4 * X[:, 0]))
    (near, far), std = surrogate.predict(np.array([[0.2], [3.0]]))
    assert near == pytest.approx(np.cos(0.8), abs=0.1)
    assert abs(far) < 0.6
    assert std[1] > 3 * std[0]


@given(learner=st.sampled_from(sorted(LEARNERS)), seed=st.integers(0, 10_000))
def test_a_mutant_is_another_point_of_the_space_with_the_same_learner(learner: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    parent = SPACE.sample(rng, learner)
    children = [SPACE.mutated(parent, rng) for _ in range(20)]
    assert all(SPACE.validate(child) == child for child in children)
    assert {child["learner"] for child in children} == {learner}
    assert learner == "dummy" or any(canonical(child) != canonical(parent) for child in children)


def test_expected_improvement_is_that_of_a_normal_loss() -> None:
    draws = np.random.default_rng(0).normal(1.0, 2.0, 400_000)
    found = expected_improvement(np.array([1.0]), np.array([2.0]), 0.5)
    assert found[0] == pytest.approx(np.maximum(0.5 - draws, 0).mean(), rel=0.01)


def test_normal_scores_keep_order_and_tame_outliers() -> None:
    scores = normal_scores(np.array([0.3, 1e9, 0.1, 0.2]))
    assert np.argsort(scores).tolist() == [2, 3, 0, 1]
    assert np.abs(scores).max() < 2


def test_hyperband_starts_some_configurations_higher_up() -> None:
    always, sometimes = AsynchronousHalving(context(0, 50_000)), Hyperband(context(0, 50_000))
    starts = [(always.newcomer(), sometimes.newcomer()) for _ in range(200)]
    assert {low.fidelity for low, _ in starts if low is not None} == {always.fidelities[0]}
    counts = [
        sum(high is not None and high.fidelity == fidelity for _, high in starts) for fidelity in always.fidelities
    ]
    assert counts == sorted(counts, reverse=True)
    assert counts[-1] > 0
    assert always.fidelities[-1] == Fidelity()
