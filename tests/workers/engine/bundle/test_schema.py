"""Rows as people send them: what is read, what is answered with a warning, what is refused and where."""

from __future__ import annotations

import math
from typing import Any

import jsonschema
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.engine.bundle.runtime.errors import BadValue, RowsProblem
from workers.engine.bundle.runtime.schema import Field, Schema
from workers.engine.bundle.runtime.values import canonical_text, parse_boolean, parse_datetime, parse_number

SCHEMA = Schema(
    (
        Field("age", "number"),
        Field("job", "category", ("1", "cook", "true")),
        Field("since", "datetime", formats=("%d.%m.%Y",)),
        Field("member", "boolean"),
        Field("a/b~c", "text"),
    )
)
ROW = {"age": 1, "job": "cook", "since": "2020-01-01", "member": True, "a/b~c": "x"}

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


def errors_of(rows: list[Any]) -> list[dict[str, str]]:
    with pytest.raises(RowsProblem) as caught:
        SCHEMA.rows_to_columns(rows)
    return caught.value.errors


@pytest.mark.parametrize(
    ("value", "expected"), [(3, 3.0), ("3.5", 3.5), (" -1e3 ", -1000.0), (True, 1.0), (10**20, 1e20)]
)
def test_number_is_read_when_spelled_as_one(value: Any, expected: float) -> None:
    assert parse_number(value) == expected


@pytest.mark.parametrize("value", [None, "", "NA", "n/a", " ? ", "--", "none", math.nan])
def test_number_is_missing_when_there_is_no_value(value: Any) -> None:
    assert math.isnan(parse_number(value))


@pytest.mark.parametrize("value", ["old", "1_000", "1,5", math.inf, "-inf", 10**400, [], {}])
def test_number_is_refused_when_it_is_none(value: Any) -> None:
    with pytest.raises(BadValue):
        parse_number(value)


@pytest.mark.parametrize(("value", "expected"), [("Yes", 1.0), ("off", 0.0), (0, 0.0), (1.0, 1.0), (False, 0.0)])
def test_boolean_is_read_when_usual(value: Any, expected: float) -> None:
    assert parse_boolean(value) == expected


@pytest.mark.parametrize("value", ["maybe", 2, [], 0.5])
def test_boolean_is_refused_when_unusual(value: Any) -> None:
    with pytest.raises(BadValue):
        parse_boolean(value)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("1970-01-02", 86400.0),
        ("1970-01-01T01:00:00+01:00", 0.0),
        ("1970-01-01 00:00:01Z", 1.0),
        (5, 5.0),
        ("31.12.1969", -86400.0),
    ],
)
def test_datetime_is_read_when_iso_or_of_the_column_s_format(value: Any, expected: float) -> None:
    assert parse_datetime(value, ("%d.%m.%Y",)) == expected


@pytest.mark.parametrize("value", ["yesterday", True, 1e15, "2020-13-01"])
def test_datetime_is_refused_when_it_is_none(value: Any) -> None:
    with pytest.raises(BadValue):
        parse_datetime(value)


@pytest.mark.parametrize(
    ("value", "expected"),
    [(3.0, "3"), (2.5, "2.5"), (True, "true"), (np.bool_(False), "false"), (2**60, str(2**60)), (np.int64(7), "7")],
)
def test_category_has_one_spelling_whatever_the_type(value: Any, expected: str) -> None:
    assert canonical_text(value) == expected


def test_codes_follow_the_vocabulary_when_values_are_spelled_differently() -> None:
    values = [1, 1.0, "1", "1.0", " cook ", True, None, "", "NA", "pilot"]
    columns, warnings = SCHEMA.rows_to_columns([{**ROW, "job": value} for value in values])
    assert columns["job"].tolist() == [0, 0, 0, 0, 1, 2, -1, -1, -1, 3]
    assert [warning["pointer"] for warning in warnings] == ["/rows/9/job"]
    assert "'pilot'" in warnings[0]["detail"]


def test_error_names_the_column_when_it_is_missing() -> None:
    rows = [ROW, {name: value for name, value in ROW.items() if name != "age"}, {}]
    errors = errors_of(rows)
    assert errors[0]["pointer"] == "/rows/1/age"
    assert "'age' is missing (in 2 rows)" in errors[0]["detail"]
    assert {error["pointer"] for error in errors} >= {"/rows/2/job", "/rows/2/a~1b~0c"}


def test_error_points_to_the_cell_when_its_type_is_wrong() -> None:
    errors = errors_of([ROW, ROW, ROW, {**ROW, "age": "old", "a/b~c": ["x"]}])
    assert [error["pointer"] for error in errors] == ["/rows/3/age", "/rows/3/a~1b~0c"]
    assert errors[0]["detail"] == "must be a number, not the text 'old'"


def test_error_points_to_the_row_when_it_is_no_object() -> None:
    assert errors_of([ROW, 3])[0] == {"pointer": "/rows/1", "detail": "must be an object of column: value"}


def test_errors_are_capped_when_every_row_is_wrong() -> None:
    assert len(errors_of([{**ROW, "age": "old"}] * 500)) == 100


def test_extra_columns_are_ignored_with_one_warning() -> None:
    columns, warnings = SCHEMA.rows_to_columns([ROW, {**ROW, "b": 1, "a": 2}, {**ROW, "a": 1}])
    assert "a" not in columns
    assert warnings == [
        {"pointer": "/rows/1/a", "detail": "columns that the model does not use were ignored: a, b"},
    ]


def test_columns_are_empty_when_there_are_no_rows() -> None:
    columns, warnings = SCHEMA.rows_to_columns([])
    assert {len(column) for column in columns.values()} == {0}
    assert warnings == []


def test_schema_round_trips_through_json() -> None:
    assert Schema.from_json(SCHEMA.to_json()) == SCHEMA


def test_json_schema_accepts_what_is_answered_and_names_what_is_required() -> None:
    schema = SCHEMA.json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    for row in (ROW, dict.fromkeys(ROW), {**ROW, "extra": 1}):
        jsonschema.validate(row, schema)
    with pytest.raises(jsonschema.ValidationError, match="'age' is a required property"):
        jsonschema.validate({}, schema)


@given(st.lists(st.fixed_dictionaries(dict.fromkeys(ROW, json_values)), max_size=5))
def test_any_json_is_read_or_refused_with_pointers(rows: list[dict[str, Any]]) -> None:
    try:
        columns, warnings = SCHEMA.rows_to_columns(rows)
    except RowsProblem as problem:
        notes = problem.errors
        assert notes
    else:
        notes = warnings
        assert {len(column) for column in columns.values()} == {len(rows)}
        assert not np.isinf(columns["age"]).any()
        assert ((columns["job"] >= -1) & (columns["job"] <= 3)).all()
        assert all(isinstance(text, str) for text in columns["a/b~c"])
    for note in notes:
        assert note["pointer"].startswith("/rows/")
        assert note["detail"]


@given(st.lists(st.fixed_dictionaries({"age": json_values, "job": json_values}), min_size=1, max_size=5))
def test_a_row_reads_the_same_alone_and_among_others(rows: list[dict[str, Any]]) -> None:
    full = [{**ROW, **row} for row in rows]
    try:
        together, _ = SCHEMA.rows_to_columns(full)
    except RowsProblem:
        return
    for number, row in enumerate(full):
        alone, _ = SCHEMA.rows_to_columns([row])
        for name in ("age", "job"):
            np.testing.assert_array_equal(alone[name][0], together[name][number])


def test_text_is_missing_when_a_table_would_read_it_so() -> None:
    columns, _ = SCHEMA.rows_to_columns([{**ROW, "a/b~c": value} for value in ("NA", None, " x ", "none", 2.0)])
    assert columns["a/b~c"].tolist() == ["", "", "x", "none", "2"]
