"""JSON lines: one object a line. Columns are the keys of all lines, in order of appearance."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from ..errors import TableError
from .read import ReadLimits

_LINE_MAX = 8 << 20
_BATCH_BYTES = 8 << 20
_BATCH_ROWS = 16_384


class JsonlReader:
    """Values come as text, so that they settle as those of a CSV do: "3" and 3 are the same number."""

    format = "jsonl"
    comma_is_decimal = False

    def __init__(self, path: Path, limits: ReadLimits) -> None:
        self._path = path
        self.declared: dict[int, str] = {}
        names: dict[str, None] = {}
        for row in self._rows():
            names.update(dict.fromkeys(row))
            if len(names) > limits.max_columns:
                raise TableError(f"The objects have more than {limits.max_columns:,} keys.", "too_many_columns")
        self.names = list(names)

    def batches(self) -> Iterator[pa.RecordBatch]:
        """All rows; a key that an object lacks is missing."""
        rows: list[dict[str, Any]] = []
        start = 0
        for place, row in self._placed_rows():
            rows.append(row)
            if len(rows) >= _BATCH_ROWS or place - start > _BATCH_BYTES:
                yield self._batch(rows)
                rows, start = [], place
        if rows:
            yield self._batch(rows)

    def _batch(self, rows: list[dict[str, Any]]) -> pa.RecordBatch:
        arrays = [_as_text([row.get(name) for row in rows], name) for name in self.names]
        return pa.record_batch(arrays, names=[str(place) for place in range(len(arrays))])

    def _rows(self) -> Iterator[dict[str, Any]]:
        return (row for _, row in self._placed_rows())

    def _placed_rows(self) -> Iterator[tuple[int, dict[str, Any]]]:
        """Each object, and the byte after its line.

        Raises:
            TableError: bad_json, row_too_long.
        """
        place = 0
        with self._path.open("rb") as file:
            for number in range(1, 1 << 62):
                line = file.readline(_LINE_MAX + 1)
                place += len(line)
                if not line:
                    return
                if len(line) > _LINE_MAX:
                    raise TableError(f"Line {number:,} is longer than 8 MiB.", "row_too_long")
                if line.strip():
                    yield place, _parse(line, number)


def _parse(line: bytes, number: int) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise TableError(
            f"Line {number:,} is not JSON: {str(error)[:100]}. Send one object a line.", "bad_json"
        ) from error
    if not isinstance(row, dict):
        raise TableError(f"Line {number:,} is no object. Send one object a line.", "bad_json")
    return row


def _as_text(values: list[Any], name: str) -> pa.Array:
    kinds = set(map(type, values))
    if kinds & {dict, list}:
        raise TableError(
            f"Column {name[:100]!r} holds lists or objects. Give each part a key of its own.", "nested_values"
        )
    if not kinds <= {str, type(None)}:
        values = [value if value is None or isinstance(value, str) else _spell(value) for value in values]
    try:
        return pa.array(values, pa.string())
    except (UnicodeEncodeError, pa.ArrowInvalid) as error:  # half of a surrogate pair
        raise TableError(f"Column {name[:100]!r} holds text that is not valid Unicode.", "wrong_encoding") from error


def _spell(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else repr(value)
