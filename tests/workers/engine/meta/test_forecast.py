"""What a search is foretold to reach, on made-up past tasks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.engine.meta.forecast import forecast
from workers.engine.meta.past import OFFSET, WORST


def make_past(rng: np.random.Generator, count: int = 60) -> tuple[np.ndarray, np.ndarray]:
    """Landmarks, and best losses that are half of what these leave, give or take a third."""
    landmarks = rng.uniform(0.0, 0.95, count)
    return landmarks, 0.5 * (1 - landmarks) * np.exp(0.3 * rng.standard_normal(count))


def test_eight_in_ten_tasks_end_within_the_interval_and_near_its_middle() -> None:
    rng = np.random.default_rng(0)
    inside, errors = [], []
    for _ in range(300):
        landmarks, losses = make_past(rng)
        found = forecast(landmarks[0], landmarks[1:], losses[1:], np.ones(59))
        inside.append(found.low <= losses[0] <= found.high)
        errors.append(abs(np.log((found.middle + OFFSET) / (losses[0] + OFFSET))))
    assert np.mean(inside) == pytest.approx(0.8, abs=0.06)
    assert np.mean(errors) < 0.3


@given(st.lists(st.floats(-1, 1), min_size=1, max_size=20), st.floats(-1, 1), st.integers(0, 99))
def test_it_is_in_order_and_possible_whatever_the_past(landmarks: list[float], landmark: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    losses, likeness = rng.uniform(0, 2, len(landmarks)), rng.uniform(0.001, 1, len(landmarks))
    found = forecast(landmark, np.array(landmarks), losses, likeness)
    assert 0 <= found.low <= found.middle <= found.high <= WORST


def test_a_better_landmark_promises_a_lower_loss() -> None:
    landmarks, losses = make_past(np.random.default_rng(1))
    promised = [forecast(landmark, landmarks, losses, np.ones(60)).middle for landmark in (0.1, 0.5, 0.9)]
    assert promised == sorted(promised, reverse=True)


def test_tasks_that_are_more_alike_count_more() -> None:
    landmarks, losses = np.full(20, 0.5), np.r_[np.full(10, 0.2), np.full(10, 0.6)]
    first = forecast(0.5, landmarks, losses, np.r_[np.full(10, 1.0), np.full(10, 0.01)])
    last = forecast(0.5, landmarks, losses, np.r_[np.full(10, 0.01), np.full(10, 1.0)])
    assert (first.middle, last.middle) == (pytest.approx(0.2), pytest.approx(0.6))
