"""Columns that give the target away."""

from __future__ import annotations

import time

import numpy as np
import pytest

from workers.engine.errors import TaskError
from workers.engine.table.leaks import target_alerts

RNG = np.random.default_rng(0)
N = 600


def _leaking(stored, columns, target, **options) -> list[str]:
    return [alert["column"] for alert in target_alerts(stored, columns, target, **options)]


def test_names_the_column_when_it_is_the_target_in_disguise(load_from, stored):
    y = RNG.integers(0, 3, N)
    columns = load_from(
        y=np.array(["a", "b", "c"])[y],
        code=y * 10 + RNG.normal(size=N) * 0.1,
        word=np.array(["x", "y", "z"])[y],
        helps=y + RNG.normal(size=N),
        noise=RNG.normal(size=N),
    )
    assert _leaking(stored, columns, "y") == ["code", "word"]


def test_names_the_column_when_a_number_is_a_function_of_another(load_from, stored):
    y = RNG.gamma(2, 100, N)
    columns = load_from(y=y, logged=np.log(y), near=y + RNG.normal(size=N) * 60, noise=RNG.normal(size=N))
    assert _leaking(stored, columns, "y") == ["logged"]


def test_names_the_column_when_the_class_is_rare(load_from, stored):
    y = RNG.random(4000) < 0.02
    columns = load_from(y=y, chargeback=np.where(y, 1.0, 0.0), amount=RNG.gamma(2, 50, 4000))
    assert _leaking(stored, columns, "y") == ["chargeback"]


def test_is_silent_when_column_is_ignored_or_an_id(load_from, stored):
    y = RNG.integers(0, 2, N)
    columns = load_from(y=y, twin=y * 2, key=[f"k{place}" for place in range(N)], noise=RNG.normal(size=N))
    assert _leaking(stored, columns, "y", ignore=["twin", None]) == []


def test_sees_through_order_when_rows_are_sorted_by_target(load_from, stored):
    y = np.sort(RNG.integers(0, 2, N))
    columns = load_from(y=y, twin=1 - y, noise=RNG.normal(size=N))
    assert _leaking(stored, columns, "y") == ["twin"]


def test_is_quick_when_table_is_large(load_from, stored):
    data = {f"n{place}": RNG.normal(size=50_000) for place in range(50)}
    columns = load_from(**data, y=RNG.integers(0, 2, 50_000))
    started = time.perf_counter()
    assert _leaking(stored, columns, "y") == []
    assert time.perf_counter() - started < 2


def test_suggests_a_name_when_target_is_unknown(load_from, stored):
    columns = load_from(income=[1.0, 2.0] * 40, x=[1, 2] * 40)
    with pytest.raises(TaskError, match="Did you mean 'income'"):
        target_alerts(stored, columns, "incom")
