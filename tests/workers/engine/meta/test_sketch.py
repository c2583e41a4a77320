"""A table is recognised by its rows."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from sklearn import datasets

from workers.engine.bundle.runtime.schema import Field, Schema
from workers.engine.meta.sketch import ALIKE, find_alike, similarity, sketch

TABLES = {
    "iris": datasets.load_iris,
    "wine": datasets.load_wine,
    "cancer": datasets.load_breast_cancer,
    "diabetes": datasets.load_diabetes,
    "digits": datasets.load_digits,
}


def _sketch(X, y, columns=None) -> bytes:
    names = [f"x{place}" for place in (range(X.shape[1]) if columns is None else columns)]
    schema = Schema(tuple(Field(name, "number") for name in names))
    return sketch({name: X[:, int(name[1:])] for name in names}, schema, y)


@pytest.fixture(scope="module")
def tables():
    return {name: load(return_X_y=True) for name, load in TABLES.items()}


@pytest.mark.parametrize("name", sorted(TABLES))
def test_is_alike_when_tables_are_halves_or_samples(tables, name):
    X, y = tables[name]
    order = np.random.default_rng(0).permutation(len(y))
    half, other = order[: len(y) // 2], order[len(y) // 2 :]
    fifth = order[: len(y) // 5]
    whole = _sketch(X, y)
    assert similarity(whole, whole) == 1
    assert similarity(_sketch(X[half], y[half]), _sketch(X[other], y[other])) >= ALIKE
    assert similarity(whole, _sketch(X[half], y[half])) >= ALIKE
    assert similarity(whole, _sketch(X[fifth], y[fifth])) >= ALIKE


def test_is_not_alike_when_tables_are_different(tables):
    sketches = {name: _sketch(X, y) for name, (X, y) in tables.items()}
    for left, right in itertools.combinations(sketches, 2):
        assert similarity(sketches[left], sketches[right]) < ALIKE, (left, right)


def test_is_the_same_when_rows_are_shuffled_and_columns_reordered(tables):
    X, y = tables["wine"]
    order = np.random.default_rng(1).permutation(len(y))
    moved = _sketch(X[order], y[order], columns=list(reversed(range(X.shape[1]))))
    assert similarity(_sketch(X, y), moved) == 1


def test_knows_the_data_when_target_is_another(tables):
    X, y = tables["wine"]
    columns = [*range(1, X.shape[1])]
    swapped = np.concatenate([X, y[:, None]], axis=1)
    assert similarity(_sketch(X, y), _sketch(swapped, X[:, 0], columns=[*columns, X.shape[1]])) == 1


def test_equals_numbers_and_categories_when_they_spell_the_same():
    codes = np.array([0, 1, 2, -1, 0], dtype=np.int32)
    as_category = sketch({"a": codes}, Schema((Field("a", "category", ("3", "7.5", "x")),)))
    values = np.array([3.0, 7.5, np.nan, np.nan, 3.0])
    as_number = sketch({"a": values}, Schema((Field("a", "number"),)))
    assert similarity(as_category, as_number) > 0.5


def test_has_a_fixed_size_when_table_is_empty():
    assert len(sketch({"a": np.array([])}, Schema((Field("a", "number"),)))) == 512


def test_the_alike_one_is_found_and_tables_of_a_few_codes_are_not_alike(tables):
    sketches = [_sketch(*tables[name]) for name in sorted(TABLES)]
    X, y = tables["wine"]
    assert find_alike(_sketch(X[::2], y[::2]), sketches) == sorted(TABLES).index("wine")
    assert find_alike(_sketch(X[::2], y[::2]), [b"of another format"]) is None
    rng = np.random.default_rng(0)
    one, other = (rng.integers(0, 2, (300, 8)).astype(float) for _ in range(2))
    assert similarity(_sketch(one, one[:, 0]), _sketch(other, other[:, 0])) > ALIKE
    assert find_alike(_sketch(one, one[:, 0]), [_sketch(other, other[:, 0])]) is None
