"""Splits: who may train on what."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workers.engine.errors import TaskError
from workers.engine.evaluation.splits import make_splits
from workers.engine.types import Scheme, Task, TaskKind, Validation


def task(kind: TaskKind = TaskKind.BINARY, metric: str = "roc_auc", **validation: Any) -> Task:
    return Task(target="y", kind=kind, metric=metric, classes=("a", "b"), validation=Validation(**validation))


SCHEMES = st.sampled_from([Scheme.AUTO, Scheme.HOLDOUT, Scheme.KFOLD, Scheme.REPEATED, Scheme.GROUP, Scheme.TIME])


@settings(max_examples=60)
@given(SCHEMES, st.integers(30, 400), st.sampled_from([0.0, 0.2]), st.integers(0, 1000))
def test_no_row_is_on_both_sides_and_the_holdout_is_untouched(
    scheme: Scheme, n: int, holdout: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    y, groups, times = (rng.random(n) < 0.3).astype(int), rng.integers(0, 12, n), rng.random(n).round(2)
    splits = make_splits(
        task(scheme=scheme, holdout=holdout),
        y,
        groups if scheme is Scheme.GROUP else None,
        times if scheme is Scheme.TIME else None,
    )
    held = set() if splits.holdout is None else set(splits.holdout)
    assert bool(held) == (holdout > 0)
    for train, valid in splits.folds:
        assert len(train)
        assert len(valid)
        assert not set(train) & set(valid)
        assert not held & (set(train) | set(valid))
        if scheme is Scheme.GROUP:
            assert not set(groups[train]) & set(groups[valid])
        if scheme is Scheme.TIME:
            assert times[train].max() < times[valid].min()


def test_folds_cover_every_row_once_and_keep_the_mix_of_classes() -> None:
    y = (np.arange(1000) % 10 == 0).astype(int)
    splits = make_splits(task(), y)
    assert sorted(np.concatenate([valid for _, valid in splits.folds])) == list(range(1000))
    assert all(y[valid].mean() == pytest.approx(0.1, abs=0.006) for _, valid in splits.folds)


@pytest.mark.parametrize(
    ("rows", "scheme", "folds"),
    [(200, "repeated", 10), (2000, "kfold", 5), (10_000, "kfold", 3), (50_000, "holdout", 1)],
)
def test_auto_spends_folds_where_rows_are_few(rows: int, scheme: str, folds: int) -> None:
    splits = make_splits(task(kind=TaskKind.REGRESSION, metric="rmse"), np.random.default_rng(0).normal(size=rows))
    assert (splits.scheme, len(splits.folds)) == (scheme, folds)


def test_auto_spends_no_folds_when_time_is_short_and_one_part_is_enough() -> None:
    y = np.arange(4000) % 2
    assert make_splits(task(), y, is_short=True).scheme is Scheme.HOLDOUT
    assert make_splits(task(), y[:1900], is_short=True).scheme is Scheme.KFOLD
    assert len(make_splits(task(folds=4), y, is_short=True).folds) == 4
    assert make_splits(task(scheme=Scheme.KFOLD), y, is_short=True).scheme is Scheme.KFOLD


def test_auto_keeps_what_the_columns_given_ask_for() -> None:
    y = np.arange(100) % 2
    assert make_splits(task(), y, groups=np.arange(100) // 5).scheme is Scheme.GROUP
    assert make_splits(task(), y, times=np.arange(100.0)).scheme is Scheme.TIME


def test_a_holdout_in_time_is_the_latest_and_splits_no_instant() -> None:
    times = np.repeat(np.arange(25.0), 4)[::-1]
    splits = make_splits(task(holdout=0.25), np.arange(100) % 2, times=times)
    assert splits.holdout is not None
    searched = np.concatenate([np.concatenate(fold) for fold in splits.folds])
    assert times[searched].max() < times[splits.holdout].min()
    assert len(splits.holdout) == 24


@pytest.mark.parametrize("times", [np.r_[0.0, np.ones(29)], np.r_[np.zeros(29), 1.0]])
def test_time_needs_two_instants_only(times: Any) -> None:
    (fold,) = make_splits(task(scheme=Scheme.TIME), np.arange(30) % 2, times=times).folds
    assert times[fold[0]].max() < times[fold[1]].min()


def test_a_rare_class_is_in_every_training_part() -> None:
    y = np.r_[np.zeros(50), np.ones(40), [2, 2], [3]].astype(int)
    splits = make_splits(task(kind=TaskKind.MULTICLASS, metric="log_loss", scheme=Scheme.KFOLD), y)
    assert all({0, 1, 2, 3} == set(y[train]) for train, _ in splits.folds)
    assert 3 not in y[np.concatenate([valid for _, valid in splits.folds])]


def test_folds_of_groups_are_alike_in_size_and_mix() -> None:
    rng = np.random.default_rng(0)
    groups = rng.integers(0, 3000, 20_000)
    y = (rng.random(20_000) < 0.1 + 0.2 * (groups % 7 == 0)).astype(int)
    splits = make_splits(task(scheme=Scheme.GROUP, folds=5), y, groups)
    assert all(len(valid) == pytest.approx(4000, rel=0.05) for _, valid in splits.folds)
    assert all(y[valid].mean() == pytest.approx(y.mean(), abs=0.02) for _, valid in splits.folds)


def test_a_large_group_does_not_fill_the_validation_part() -> None:
    groups = np.r_[np.zeros(90, dtype=int), np.arange(1, 11)]
    ((train, valid),) = make_splits(task(scheme=Scheme.HOLDOUT), np.arange(100) % 2, groups).folds
    assert (len(train), len(valid)) == (90, 10)


def test_seed_decides_the_folds() -> None:
    y = np.arange(100) % 2
    one, same = make_splits(task(), y), make_splits(task(), y)
    assert all(np.array_equal(a[1], b[1]) for a, b in zip(one.folds, same.folds, strict=True))


@pytest.mark.parametrize(
    ("validation", "message"),
    [
        ({"scheme": Scheme.GROUP}, "needs group_column"),
        ({"scheme": Scheme.TIME}, "needs time_column"),
    ],
)
def test_a_missing_column_is_named(validation: dict[str, Any], message: str) -> None:
    with pytest.raises(TaskError, match=message):
        make_splits(task(**validation), np.arange(50) % 2)


def test_what_cannot_be_split_says_so() -> None:
    y = np.arange(50) % 2
    with pytest.raises(TaskError, match="same time"):
        make_splits(task(scheme=Scheme.TIME), y, times=np.zeros(50))
    with pytest.raises(TaskError, match="one group"):
        make_splits(task(scheme=Scheme.GROUP), y, groups=np.zeros(50, dtype=int))
    with pytest.raises(TaskError, match="empty in 1 rows"):
        make_splits(task(scheme=Scheme.TIME), y, times=np.r_[np.nan, np.arange(49.0)])
    with pytest.raises(TaskError, match="4 groups: use at most 4"):
        make_splits(task(scheme=Scheme.GROUP, folds=5), y, groups=np.arange(50) % 4)
    with pytest.raises(TaskError, match="at least two folds"):
        make_splits(task(scheme=Scheme.KFOLD, folds=1), y)
    with pytest.raises(TaskError, match="one value only"):
        make_splits(task(), np.zeros(50, dtype=int))
    with pytest.raises(TaskError, match="have two rows"):
        make_splits(task(), np.r_[np.zeros(49, dtype=int), 1])
    with pytest.raises(TaskError, match="1 rows to learn from; at least 10"):
        make_splits(task(), np.zeros(1, dtype=int))
    with pytest.raises(TaskError, match="which is 0 in 1 rows"):
        make_splits(task(kind=TaskKind.REGRESSION, metric="mape"), np.arange(50.0))
    with pytest.raises(TaskError, match="rmsle"):
        make_splits(task(kind=TaskKind.REGRESSION, metric="rmsle"), np.linspace(-5, 5, 50))
