"""Real tables to practise on: parts of them, and their columns as targets."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from workers.corpus import read_tasks
from workers.engine.meta.reading.tables import ENCODINGS, RealTable, read_tables, real_task, write_tables
from workers.engine.meta.replay import is_replay


def made(seed: int, classes: int) -> RealTable:
    """Ten columns of 400 rows; the second says the target in other words."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((400, 10)).astype(np.float32)
    X[:, 2] = np.arange(400) % 4
    signal = X[:, 0] + 0.1 * rng.standard_normal(400)
    y = np.digitize(signal, np.quantile(signal, np.arange(1, classes) / classes)) if classes else signal
    X[:, 1] = 7 - 3 * y
    return RealTable(dict.fromkeys(ENCODINGS, X), y.astype(np.int64 if classes else np.float32), classes)


TABLES = [made(0, 0), made(1, 2), made(2, 4)]


@pytest.mark.parametrize("classes", [0, 2, 3, 6])
def test_parts_are_as_asked_and_do_not_hold_the_target(classes: int) -> None:
    rng = np.random.default_rng(5)
    for _ in range(40):
        task = real_task(rng, TABLES, 90, 4, classes)
        assert task is not None
        assert task.X.shape == (90, 4)
        assert np.isfinite(task.X).all()
        assert task.X.mean(axis=0) == pytest.approx(np.zeros(4), abs=1e-4)
        if classes:
            assert np.bincount(task.y).min() >= 2
            assert len(np.bincount(task.y)) == classes
            within = [task.X[task.y == label].std(axis=0) for label in range(classes)]
            assert np.max(within, axis=0).min() > 1e-6  # no column says every class in other words
        else:
            assert task.y.std() == pytest.approx(1, abs=1e-3)
            assert max(abs(np.corrcoef(column, task.y)[0, 1]) for column in task.X.T) < 0.9995


def test_the_same_number_draws_the_same_part() -> None:
    one, other = (real_task(np.random.default_rng(3), TABLES, 60, 5, 2) for _ in range(2))
    assert one is not None
    assert other is not None
    assert np.array_equal(one.X, other.X)
    assert np.array_equal(one.y, other.y)


def test_no_part_of_a_table_that_is_too_small() -> None:
    assert real_task(np.random.default_rng(3), TABLES, 900, 5, 2) is None
    assert real_task(np.random.default_rng(3), TABLES, 90, 50, 2) is None


def test_a_file_gives_back_what_it_was_given(tmp_path: Path) -> None:
    write_tables(tmp_path / "tables.safetensors", {"b": TABLES[0], "a": TABLES[2]})
    back = read_tables(tmp_path / "tables.safetensors")
    assert [table.classes for table in back] == [4, 0]  # by name
    assert np.array_equal(back[1].columns["onehot"], TABLES[0].columns["onehot"])
    assert back[1].y.dtype == np.float32


def test_no_group_both_teaches_learners_and_judges() -> None:
    tasks = list(read_tasks("train"))
    teaching = {task.group for task in tasks if task.teaches_learners}
    judging = {task.group for task in tasks if is_replay(task.known_group)}
    groups = {task.group for task in tasks}
    assert not teaching & judging
    assert 100 < len(teaching) < (len(groups) - len(judging)) * 0.6
    bench = list(read_tasks("bench"))
    assert not teaching & {task.group for task in bench}
    assert not any(task.teaches_learners for task in bench)
