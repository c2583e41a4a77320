"""A matrix of what was tried where: no gaps, whatever is missing, and as close to the truth as the rest allows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workers.engine.meta.matrix import Attempts, fill

CONFIGURATIONS = {f"k{number}": {"learner": "linear", "number": number} for number in range(8)}


def attempts(tried: np.ndarray, losses: np.ndarray) -> Attempts:
    tasks, places = np.nonzero(tried)
    keys = [f"k{place}" for place in places]
    return Attempts(tasks.tolist(), keys, losses[tried].tolist(), [1.0] * len(keys))


def make_losses(tasks: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.exp(rng.normal(size=(tasks, 2)) @ rng.normal(size=(2, 8)) * 0.3 - 1)


@settings(max_examples=50)
@given(st.integers(0, 10_000), st.floats(0.05, 1.0))
def test_there_is_no_gap_whatever_was_tried(seed: int, share: float) -> None:
    rng = np.random.default_rng(seed)
    tried = rng.random((12, 8)) < share
    losses = make_losses(12, seed)
    losses[rng.random(losses.shape) < 0.1] = np.nan  # failed
    made = attempts(tried, losses).to_past(CONFIGURATIONS, rng.random(12))
    if made is not None:
        past, rows = made
        assert np.isfinite(past.losses).all()
        assert past.losses.shape == (len(rows), len(past.configurations))
        assert past.weights.sum() == pytest.approx(1)


def test_columns_that_only_poor_rows_tried_go_with_them() -> None:
    tried = np.zeros((23, 8), dtype=bool)
    tried[:20, :6] = True
    tried[20:, 6:] = True  # three tasks that tried two configurations of their own
    made = attempts(tried, make_losses(23)).to_past(CONFIGURATIONS, np.ones(23))
    assert made is not None
    past, rows = made
    assert [one["number"] for one in past.configurations] == list(range(6))
    assert rows.tolist() == list(range(20))


def test_gaps_are_filled_by_what_goes_together() -> None:
    losses = np.log(make_losses(200))
    gappy = losses.copy()
    gappy[150:, 5:] = np.nan
    filled = fill(gappy)
    np.testing.assert_array_equal(filled[:150], losses[:150])
    naive = losses[:150, 5:].mean(axis=0)
    assert np.square(filled[150:, 5:] - losses[150:, 5:]).mean() < 0.2 * np.square(naive - losses[150:, 5:]).mean()


def test_too_little_is_nothing() -> None:
    tried = np.zeros((12, 8), dtype=bool)
    tried[:, 0] = True
    assert attempts(tried, make_losses(12)).to_past(CONFIGURATIONS, np.ones(12)) is None


def test_a_neighbours_winner_counts_though_nobody_else_has_tried_it() -> None:
    tried = np.zeros((30, 8), dtype=bool)
    tried[:, :6] = True
    tried[[2, 25], 6] = True  # wins on a near task, and was tried on a far one
    tried[1, 7] = True  # does not win
    losses = make_losses(30)
    losses[2, 6], losses[25, 6], losses[1, 7] = 1e-3, 2.0, losses[1, :7].max()
    plain = attempts(tried, losses).to_past(CONFIGURATIONS, np.ones(30))
    assert plain is not None
    assert len(plain[0].configurations) == 6
    made = attempts(tried, losses).to_past(CONFIGURATIONS, np.ones(30), winners=5)
    assert made is not None
    past, _ = made
    assert [one["number"] for one in past.configurations] == [*range(7)]
    assert past.losses[2].argmin() == 6
    assert past.losses[25, 6] == pytest.approx(1.5), "what it did elsewhere is what it did"
    untried = np.delete(np.arange(30), [2, 25])
    assert (past.losses[untried, 6] > past.losses[untried, :6].min(axis=1)).all()
    assert past.seconds is not None
    assert past.seconds.shape == past.losses.shape


def test_hundreds_of_configurations_leave_those_that_most_have_tried() -> None:
    rng = np.random.default_rng(2)
    names = [f"c{place:03}" for place in range(300)]
    configurations = {name: {"learner": "linear", "alpha": place} for place, name in enumerate(names)}
    tried = rng.random((60, 300)) < np.linspace(0.9, 0.2, 300)
    tasks, columns = np.nonzero(tried)
    made = Attempts(
        tasks.tolist(), [names[column] for column in columns], rng.random(len(tasks)).tolist(), [1.0] * len(tasks)
    ).to_past(configurations, np.ones(60))
    assert made is not None
    kept = [configuration["alpha"] for configuration in made[0].configurations]
    assert len(kept) == 128
    assert tried[:, kept].sum(axis=0).min() >= np.delete(tried, kept, axis=1).sum(axis=0).max()


@pytest.mark.parametrize("known", [4, 16])
def test_few_gaps_and_many_are_filled_alike(known: int) -> None:
    rng = np.random.default_rng(3)
    losses = rng.standard_normal((200, 2)) @ rng.standard_normal((2, 20)) + 0.05 * rng.standard_normal((200, 20))
    gappy = losses.copy()
    gappy[150:, known:] = np.nan
    error = np.square(fill(gappy)[150:, known:] - losses[150:, known:]).mean()
    assert error < 0.02 * losses.var()
