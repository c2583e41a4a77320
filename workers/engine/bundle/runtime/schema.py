"""The features of a model: names, kinds, vocabularies; and how rows as people send them become columns."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from .errors import BadValue, RowsProblem
from .values import canonical_text, is_missing_word, numeric_spelling, parse_boolean, parse_datetime, parse_number

#: Feature name -> 1-D array. number, boolean, datetime: float64, NaN missing (datetime: seconds since 1970 UTC);
#: category: int32 codes into the vocabulary, -1 missing, len(vocabulary) unseen; text: objects of str, "" missing.
Columns = dict[str, np.ndarray[Any, Any]]
Note = dict[str, str]  #: {"pointer": JSON Pointer, "detail": text}

KINDS = ("number", "boolean", "datetime", "category", "text")
MAX_ERRORS = 100
MAX_WARNINGS = 1000


@dataclass(frozen=True)
class Field:
    """One feature. `vocabulary` is of categories, in code order; `formats` of dates, as strptime reads them."""

    name: str
    kind: str
    vocabulary: tuple[str, ...] = ()
    nullable: bool = True  #: whether values were missing in training; missing ones are answered either way
    formats: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"Field {self.name!r} has kind {self.kind!r}; features are {', '.join(KINDS)}.")

    @cached_property
    def codes(self) -> dict[str, int]:
        """Spelling -> code. Also the canonical spelling of numbers, so that 3, "3" and "3.0" are one category."""
        codes = {text: code for code, text in enumerate(self.vocabulary)}
        for code, text in enumerate(self.vocabulary):
            codes.setdefault(numeric_spelling(text), code)
        return codes

    def code(self, value: Any) -> int:
        """Code of a category as sent: -1 missing, len(vocabulary) unseen."""
        if value is None or value != value:
            return -1
        if isinstance(value, (dict, list)):
            raise BadValue("must be a single value or null, not an object or array")
        text = canonical_text(value)
        code = self.codes.get(text)
        if code is None:
            code = self.codes.get(numeric_spelling(text))
        if code is not None:
            return code
        return -1 if is_missing_word(text) else len(self.vocabulary)

    def json_schema(self) -> dict[str, Any]:
        """JSON Schema of one value, with what is answered in words."""
        types, description = _JSON_TYPES[self.kind]
        schema: dict[str, Any] = {"type": list(types), "description": description, "x-kind": self.kind}
        if self.kind == "category":
            schema["examples"] = list(self.vocabulary[:20])
            schema["x-categories"] = len(self.vocabulary)
        if self.formats:
            schema["x-formats"] = list(self.formats)
        return schema


_JSON_TYPES = {
    "number": (("number", "string", "null"), "A finite number, also as text; null: missing."),
    "boolean": (("boolean", "string", "number", "null"), "true or false, 1 or 0, or such a word; null: missing."),
    "datetime": (
        ("string", "number", "null"),
        "ISO 8601 (UTC where no zone is given) or seconds since 1970; null: missing.",
    ),
    "category": (
        ("string", "number", "boolean", "null"),
        "One of the categories; others are answered as unseen, with a warning; null: missing.",
    ),
    "text": (("string", "number", "boolean", "null"), "Free text; null: missing."),
}


@dataclass(frozen=True)
class Schema:
    """The features of a model, in order."""

    fields: tuple[Field, ...]

    def __post_init__(self) -> None:
        if len({field.name for field in self.fields}) != len(self.fields):
            raise ValueError("Two features have the same name.")

    @property
    def names(self) -> tuple[str, ...]:
        """Feature names in order."""
        return tuple(field.name for field in self.fields)

    def field(self, name: str) -> Field:
        """The feature of this name."""
        return next(field for field in self.fields if field.name == name)

    def to_json(self) -> dict[str, Any]:
        """As the manifest keeps it."""
        return {
            "fields": [
                {
                    "name": field.name,
                    "kind": field.kind,
                    "vocabulary": list(field.vocabulary),
                    "nullable": field.nullable,
                    "formats": list(field.formats),
                }
                for field in self.fields
            ]
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Schema:
        """Back from `to_json`."""
        return cls(
            tuple(
                Field(
                    item["name"],
                    item["kind"],
                    tuple(item.get("vocabulary", ())),
                    bool(item.get("nullable", True)),
                    tuple(item.get("formats", ())),
                )
                for item in data["fields"]
            )
        )

    def json_schema(self) -> dict[str, Any]:
        """JSON Schema 2020-12 of one row."""
        return {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "type": "object",
            "properties": {field.name: field.json_schema() for field in self.fields},
            "required": list(self.names),
            "additionalProperties": True,
        }

    def rows_to_columns(self, rows: Sequence[Mapping[str, Any]]) -> tuple[Columns, list[Note]]:
        """Rows as JSON carries them, and warnings: ignored columns, unseen categories.

        Raises:
            RowsProblem: a row is no object, lacks a column, or holds what can't be read as the column's kind.
        """
        _check_objects(rows)
        notes = _Notes()
        columns = {field.name: _read_column(field, rows, notes) for field in self.fields}
        if notes.errors:
            raise RowsProblem(notes.errors)
        self._warn_of_extra_columns(rows, notes)
        return columns, notes.warnings

    def _warn_of_extra_columns(self, rows: Sequence[Mapping[str, Any]], notes: _Notes) -> None:
        known = len(self.fields)
        extra: dict[str, int] = {}
        for number, row in enumerate(rows):
            if len(row) != known:  # every known column is there, so what is more is extra
                for name in row.keys() - set(self.names):
                    extra.setdefault(name, number)
        if extra:
            first = min(extra, key=lambda name: (extra[name], name))
            listed = ", ".join(sorted(extra)[:20]) + (", …" if len(extra) > 20 else "")
            notes.warnings.insert(
                0,
                {
                    "pointer": pointer(extra[first], first),
                    "detail": f"columns that the model does not use were ignored: {listed}",
                },
            )


def pointer(row: int, name: str | None = None) -> str:
    """JSON Pointer into the request: /rows/3/age."""
    if name is None:
        return f"/rows/{row}"
    return f"/rows/{row}/" + str(name).replace("~", "~0").replace("/", "~1")


class _Notes:
    """Errors and warnings of one request, capped."""

    def __init__(self) -> None:
        self.errors: list[Note] = []
        self.warnings: list[Note] = []

    def error(self, row: int, name: str | None, detail: str) -> None:
        if len(self.errors) < MAX_ERRORS:
            self.errors.append({"pointer": pointer(row, name), "detail": detail})

    def warn(self, row: int, name: str, detail: str) -> None:
        if len(self.warnings) < MAX_WARNINGS:
            self.warnings.append({"pointer": pointer(row, name), "detail": detail})


def _check_objects(rows: Any) -> None:
    if not isinstance(rows, (list, tuple)):
        raise RowsProblem([{"pointer": "/rows", "detail": "must be a list of rows"}])
    notes = _Notes()
    for number, row in enumerate(rows):
        if not isinstance(row, Mapping):
            notes.error(number, None, "must be an object of column: value")
    if notes.errors:
        raise RowsProblem(notes.errors)


def _read_column(field: Field, rows: Sequence[Mapping[str, Any]], notes: _Notes) -> np.ndarray[Any, Any]:
    try:
        values = [row[field.name] for row in rows]
    except KeyError:
        lacking = [number for number, row in enumerate(rows) if field.name not in row]
        where = "" if len(lacking) == 1 else f" (in {len(lacking)} rows)"
        notes.error(lacking[0], field.name, f"column {field.name!r} is missing{where}; send null for no value")
        return np.empty(0)
    return _READERS[field.kind](field, values, notes)


def _read_numbers(field: Field, values: list[Any], notes: _Notes) -> np.ndarray[Any, Any]:
    if set(map(type, values)) <= {int, float}:
        try:
            numbers = np.array(values, dtype=np.float64)
        except OverflowError:
            numbers = np.array([np.inf])
        if not np.isinf(numbers).any():
            return numbers
    return _read_floats(field, values, notes, parse_number)


def _read_booleans(field: Field, values: list[Any], notes: _Notes) -> np.ndarray[Any, Any]:
    return _read_floats(field, values, notes, parse_boolean)


def _read_datetimes(field: Field, values: list[Any], notes: _Notes) -> np.ndarray[Any, Any]:
    return _read_floats(field, values, notes, lambda value: parse_datetime(value, field.formats))


def _read_floats(field: Field, values: list[Any], notes: _Notes, parse: Callable[[Any], float]) -> np.ndarray[Any, Any]:
    return np.array(list(_parsed(field, values, notes, parse, np.nan)), dtype=np.float64)


def _parsed(
    field: Field, values: list[Any], notes: _Notes, parse: Callable[[Any], Any], otherwise: Any
) -> Iterator[Any]:
    for number, value in enumerate(values):
        try:
            yield parse(value)
        except BadValue as error:
            notes.error(number, field.name, str(error))
            yield otherwise


def _read_categories(field: Field, values: list[Any], notes: _Notes) -> np.ndarray[Any, Any]:
    codes = np.array(list(_parsed(field, values, notes, field.code, -1)), dtype=np.int32)
    for number in np.flatnonzero(codes == len(field.vocabulary)):
        text = canonical_text(values[number])
        shown = text if len(text) <= 40 else text[:37] + "..."
        notes.warn(int(number), field.name, f"{shown!r} was not among the training categories; answered as unseen")
    return codes


def _read_texts(field: Field, values: list[Any], notes: _Notes) -> np.ndarray[Any, Any]:
    texts = np.empty(len(values), dtype=object)
    texts[:] = list(_parsed(field, values, notes, _text, ""))
    return texts


def _text(value: Any) -> str:
    if value is None or value != value:
        return ""
    if isinstance(value, (dict, list)):
        raise BadValue("must be text or null, not an object or array")
    text = canonical_text(value)
    return "" if is_missing_word(text) else text


_READERS: dict[str, Callable[[Field, list[Any], _Notes], np.ndarray[Any, Any]]] = {
    "number": _read_numbers,
    "boolean": _read_booleans,
    "datetime": _read_datetimes,
    "category": _read_categories,
    "text": _read_texts,
}
