"""A request's body, whatever it holds, is rows or a problem with a pointer."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import InvalidRequest, TooLarge
from app.predictions.predictor import read_rows

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text() | st.just("rows"), inner, max_size=4),
    max_leaves=10,
)


@given(st.binary() | json_values.map(lambda value: json.dumps(value).encode()))
def test_any_body_is_rows_or_a_problem(body: bytes) -> None:
    try:
        assert isinstance(read_rows(body, 2), list)
    except TooLarge:
        assert len(json.loads(body)["rows"]) > 2
    except InvalidRequest as problem:
        json.dumps([problem.detail, *problem.errors], ensure_ascii=False).encode()


@given(st.lists(json_values, max_size=5))
def test_rows_come_through_as_they_were_sent(rows: list[Any]) -> None:
    found = read_rows(json.dumps({"rows": rows}).encode(), 5)
    assert json.dumps(found) == json.dumps(rows)


def test_number_of_any_length_is_no_crash() -> None:
    with pytest.raises(InvalidRequest):
        read_rows(b'{"rows": [' + b"9" * 10_000 + b"]}", 5)
