"""What is known of a task before any trial."""

from __future__ import annotations

import time

import numpy as np
import pytest

from workers.engine.bundle.runtime.schema import Field, Schema
from workers.engine.meta.metafeatures import metafeatures

RNG = np.random.default_rng(0)


def _mixed(rows: int):
    columns = {
        "n": np.where(RNG.random(rows) < 0.1, np.nan, RNG.normal(size=rows)),
        "c": RNG.integers(-1, 3, rows).astype(np.int32),
        "b": (RNG.random(rows) < 0.5).astype(np.float64),
        "d": RNG.uniform(0, 1e9, rows),
        "t": np.array(["some words", "", "many more words here"], dtype=object)[RNG.integers(0, 3, rows)],
    }
    kinds = {"n": "number", "c": "category", "b": "boolean", "d": "datetime", "t": "text"}
    return columns, Schema(
        tuple(Field(name, kind, ("x", "y", "z") if kind == "category" else ()) for name, kind in kinds.items())
    )


@pytest.mark.parametrize("kind", ["binary", "multiclass", "regression"])
def test_all_is_finite_when_kinds_are_mixed(kind):
    columns, schema = _mixed(400)
    y = {"binary": RNG.integers(0, 2, 400), "multiclass": RNG.integers(0, 4, 400)}.get(kind, RNG.normal(size=400))
    found = metafeatures(columns, schema, y, kind)
    assert all(isinstance(value, float) and np.isfinite(value) for value in found.values())
    assert {
        "rows",
        "columns",
        "missing_share",
        "skew_mean",
        "levels_mean",
        "information_max",
        "landmark_nearest",
    } <= set(found)
    assert ("class_entropy" in found) == (kind != "regression")


def test_tells_signal_from_noise_when_target_is_linear():
    X = RNG.normal(size=(500, 5))
    columns = {f"x{place}": X[:, place] for place in range(5)}
    schema = Schema(tuple(Field(name, "number") for name in columns))
    signal = metafeatures(columns, schema, X @ np.arange(5.0), "regression")
    noise = metafeatures(columns, schema, RNG.normal(size=500), "regression")
    assert signal["landmark_linear"] > 0.99
    assert noise["landmark_linear"] < 0.2
    assert signal["information_max"] > 3 * noise["information_max"]


def test_is_the_same_when_computed_twice():
    columns, schema = _mixed(300)
    y = RNG.integers(0, 2, 300)
    assert metafeatures(columns, schema, y, "binary") == metafeatures(columns, schema, y, "binary")


@pytest.mark.parametrize(
    "values", [np.full(50, np.nan), np.full(50, 1e308), np.tile([1e308, -1e308], 25), np.zeros(50)]
)
def test_stays_finite_when_a_column_is_degenerate(values):
    schema = Schema((Field("x", "number"), Field("c", "category", ())))
    columns = {"x": values, "c": np.full(50, -1, np.int32)}
    found = metafeatures(columns, schema, np.arange(50) % 2, "binary")
    assert all(np.isfinite(value) for value in found.values())


def test_works_when_a_class_has_one_row():
    columns, schema = _mixed(30)
    y = np.zeros(30, dtype=np.int64)
    y[3] = 1
    assert metafeatures(columns, schema, y, "binary")["minority_share"] == pytest.approx(1 / 30)


def test_is_quick_when_table_is_large():
    X = RNG.normal(size=(50_000, 50))
    columns = {f"x{place}": X[:, place] for place in range(50)}
    schema = Schema(tuple(Field(name, "number") for name in columns))
    metafeatures({"x0": X[:100, 0]}, Schema((Field("x0", "number"),)), RNG.integers(0, 2, 100), "binary")  # imports
    started = time.perf_counter()
    metafeatures(columns, schema, RNG.integers(0, 3, 50_000), "multiclass")
    assert time.perf_counter() - started < 1.5
