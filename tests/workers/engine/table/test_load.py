"""Features and targets out of a stored table."""

from __future__ import annotations

import time
from datetime import datetime

import numpy as np
import pyarrow as pa
import pytest

from workers.engine.errors import TaskError
from workers.engine.table.load import load_groups, load_table, load_target, load_times, load_weights

N = 40
PLAIN = {
    "n": [1.5, None, float("inf"), 4.0] * 10,
    "c": ["b", "a", None, "b"] * 10,
    "f": [True, False, None, True] * 10,
    "d": [datetime(1970, 1, 2), None, datetime(1970, 1, 3), datetime(1970, 1, 4)] * 10,
    "y": ["no", "yes", "yes", None] * 10,
    "key": [f"k{place}" for place in range(N)],
    "same": ["s"] * N,
}


@pytest.fixture
def columns(load_from):
    return load_from(**PLAIN)


def test_gives_every_kind_its_array_when_table_is_loaded(columns, stored):
    table = load_table(stored, columns, reserved=["y"])
    assert [(field.name, field.kind) for field in table.schema.fields] == [
        ("n", "number"),
        ("c", "category"),
        ("f", "boolean"),
        ("d", "datetime"),
    ]
    first = {name: values[:4].tolist() for name, values in table.columns.items()}
    assert first["n"][0] == 1.5
    assert np.isnan(first["n"][1:3]).all()
    assert first["c"] == [1, 0, -1, 1]
    assert table.columns["c"].dtype == np.int32
    assert table.schema.field("c").vocabulary == ("a", "b")
    assert first["f"][:2] == [1.0, 0.0]
    assert np.isnan(first["f"][2])
    assert (first["d"][0], first["d"][3]) == (86_400.0, 3 * 86_400.0)
    assert table.n_rows == N


def test_drops_the_same_rows_when_target_is_missing(columns, stored):
    target = load_target(stored, columns, "y", "binary")
    table = load_table(stored, columns, reserved=["y"], mask=target.mask)
    assert target.classes == ("no", "yes")
    assert target.y[:3].tolist() == [0, 1, 1]
    assert len(target.y) == table.n_rows == len(table.columns["n"]) == 30


def test_puts_the_positive_class_second_when_asked(columns, stored):
    target = load_target(stored, columns, "y", "binary", positive_class="no")
    assert target.classes == ("yes", "no")
    assert target.y[:3].tolist() == [1, 0, 0]


def test_orders_classes_by_value_when_they_are_numbers(load_from, stored):
    columns = load_from(y=[10, 9, 2, None] * 10, x=[1.0, 2.0] * 20)
    assert load_target(stored, columns, "y", "multiclass").classes == ("2", "9", "10")


def test_leaves_out_infinite_numbers_when_target_is_a_number(load_from, stored):
    columns = load_from(y=[1.0, float("inf"), None, 2.0] * 10, x=[1.0, 2.0] * 20)
    assert load_target(stored, columns, "y", "regression").y.tolist() == [1.0, 2.0] * 10


def test_recasts_when_kinds_are_overridden(load_from, stored):
    columns = load_from(
        n=[1.0, 2.5, None, 2.5] * 10, t=["1", "x", None, "2,5"] * 10, b=["yes", "no", None, "y"] * 10, k=list(range(N))
    )
    kinds = {"n": "category", "t": "number", "b": "boolean", "k": "number"}
    table = load_table(stored, columns, kinds=kinds)
    assert table.schema.field("n").vocabulary == ("1", "2.5")
    assert table.columns["n"][:4].tolist() == [0, 1, -1, 1]
    assert table.columns["t"][0] == 1.0
    assert np.isnan(table.columns["t"][1:4]).all()
    assert table.columns["b"][:2].tolist() == [1.0, 0.0]
    assert table.columns["k"].tolist() == list(range(N))


def test_reads_text_when_kind_is_text(load_from, stored):
    columns = load_from(t=["a b", None] * 20, n=[1, 2] * 20)
    table = load_table(stored, columns, kinds={"t": "text", "n": "text"})
    assert table.columns["t"][:2].tolist() == ["a b", ""]
    assert table.columns["n"][:2].tolist() == ["1", "2"]


def test_reads_dates_when_kind_is_datetime(read, stored):
    body = "".join(f"{'31/12/2020' if place % 2 else '01/02/2020'},{place % 7}\n" for place in range(N))
    columns = read(f"d,x\n{body}".encode()).columns
    table = load_table(stored, columns)
    assert table.schema.field("d").formats == ("%d/%m/%Y",)
    assert table.columns["d"][1] == datetime(2020, 12, 31).timestamp() or table.columns["d"][1] == 1609372800.0


def test_uses_an_id_when_it_is_included(columns, stored):
    table = load_table(stored, columns, include=["key", "n"])
    assert [field.kind for field in table.schema.fields] == ["number", "category"]


def test_leaves_out_what_is_excluded(columns, stored):
    assert load_table(stored, columns, exclude=["n", "c", "y"]).schema.names == ("f", "d")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"include": ["Nn"]}, "Column 'Nn' is not in the table. Did you mean 'n'?"),
        ({"exclude": ["samee"]}, "Did you mean 'same'?"),
        ({"kinds": {"nope": "text"}}, "Column 'nope' is not in the table."),
        ({"kinds": {"c": "number"}}, "Column 'c' can't be numbers: it holds 'b'."),
        ({"kinds": {"c": "boolean"}}, "Column 'c' can't be boolean: it holds 'b'."),
        ({"kinds": {"n": "boolean"}}, "Column 'n' can't be boolean: it holds 1.5."),
        ({"kinds": {"c": "datetime"}}, "Column 'c' can't be dates: no one format fits, for instance 'b'."),
        ({"include": ["same"]}, "No feature is left"),
    ],
)
def test_says_what_is_wrong_when_features_are(columns, stored, options, words):
    with pytest.raises(TaskError, match=r".*") as caught:
        load_table(stored, columns, **options)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("target", "kind", "words"),
    [
        ("income", "binary", "Target 'income' is not in the table. Did you mean"),
        ("empty", "binary", "Target 'empty' is missing in every row."),
        ("one", "binary", "Target 'one' is 'only' in every row: at least two classes are needed."),
        ("one", "regression", "Column 'one' can't be numbers: it holds 'only'."),
        ("flat", "regression", "Target 'flat' is 7 in every row: there is nothing to predict."),
        ("three", "binary", "Target 'three' has 3 classes; binary needs exactly two. Use kind multiclass."),
        ("many", "multiclass", "has 40 classes in 40 rows, too many to learn. Is it an id"),
        ("few", "binary", "Only 4 rows have a target; at least 10 are needed."),
        ("when", "regression", "Target 'when' holds dates; regression needs numbers."),
    ],
)
def test_says_what_is_wrong_when_target_is(load_from, stored, target, kind, words):
    columns = load_from(
        x=[1.0, 2.0] * 20,
        empty=pa.nulls(N),
        one=["only"] * N,
        flat=[7.0] * N,
        three=["a", "b", "c", "a"] * 10,
        many=[f"m{place}" for place in range(N)],
        few=["a", "b"] * 2 + [None] * 36,
        when=[datetime(2020, 1, 1), datetime(2020, 1, 2)] * 20,
    )
    with pytest.raises(TaskError) as caught:
        load_target(stored, columns, target, kind)
    assert words in str(caught.value)


def test_says_so_when_table_has_one_row(read, stored):
    columns = read(b"a,y\n1,2\n").columns
    with pytest.raises(TaskError, match="Only 1 rows have a target"):
        load_target(stored, columns, "y", "regression")


def test_says_so_when_all_features_are_constant(load_from, stored):
    columns = load_from(a=[1] * N, b=["x"] * N, y=["p", "q"] * 20)
    with pytest.raises(TaskError, match="Every column besides the target holds one value only"):
        load_table(stored, columns, reserved=["y"])


def test_loads_weights_groups_and_times_when_they_are_good(load_from, stored):
    columns = load_from(w=[1.0, 0.0] * 20, g=["a", "b", None, None] * 10, t=[datetime(1970, 1, 2)] * N, y=[1.0] * N)
    mask = np.ones(N, dtype=bool)
    assert load_weights(stored, columns, "w", mask)[:2].tolist() == [1.0, 0.0]
    groups = load_groups(stored, columns, "g", mask)
    assert groups[:2].tolist() == [0, 1]
    assert len(set(groups.tolist())) == 22
    assert load_times(stored, columns, "t", mask)[0] == 86_400.0


def test_says_what_is_wrong_when_roles_are(load_from, stored):
    columns = load_from(w=[1.0, -1.0] * 20, g=["a"] * N, t=[datetime(1970, 1, 2), None] * 20)
    mask = np.ones(N, dtype=bool)
    with pytest.raises(TaskError, match="must hold a number >= 0"):
        load_weights(stored, columns, "w", mask)
    with pytest.raises(TaskError, match="one group only"):
        load_groups(stored, columns, "g", mask)
    with pytest.raises(TaskError, match="missing in 20 rows"):
        load_times(stored, columns, "t", mask)


def test_is_quick_when_table_is_large(load_from, stored):
    rng = np.random.default_rng(0)
    data = {f"n{place}": rng.normal(size=50_000) for place in range(25)}
    data |= {f"c{place}": rng.integers(0, 50, 50_000).astype(str) for place in range(25)}
    columns = load_from(**data, y=rng.integers(0, 3, 50_000))
    started = time.perf_counter()
    target = load_target(stored, columns, "y", "multiclass")
    load_table(
        stored, columns, kinds={f"c{place}": "category" for place in range(25)}, reserved=["y"], mask=target.mask
    )
    assert time.perf_counter() - started < 2
