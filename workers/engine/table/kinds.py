"""What a column holds, judged by its values and a little by its name."""

from __future__ import annotations

import re

import numpy as np

from ..types import ColumnKind
from .values import Values

_ID_ROWS = 20  # fewer rows prove nothing about uniqueness
_ID_SHARE = 0.98  # of present values that are distinct
_TEXT_WORDS = 3.0  # mean words of distinct values
_TEXT_SHARE = 0.2  # distinct values to rows
_ID_NAME = re.compile(
    r"(.*[_\- .])?(id|ids|uuid|guid|key|index|idx|rowid|row|rownum|row_?number|nr|no)"
    r"|.*[a-z]Id|unnamed: ?0|__index_level_[0-9]__|column_1",
    re.ASCII,
)


def detect_kind(name: str, values: Values) -> ColumnKind:
    """The kind of a column. One value is constant; one value beside missing ones is not: presence may tell."""
    if len(values.distinct) == 0 or (len(values.distinct) == 1 and values.missing == 0):
        return ColumnKind.CONSTANT
    if values.type == "boolean":
        return ColumnKind.BOOLEAN
    if values.type == "datetime":
        return ColumnKind.DATETIME
    if values.is_numeric:
        return ColumnKind.ID if _is_number_id(name, values) else ColumnKind.NUMBER
    return _text_kind(values)


def _is_number_id(name: str, values: Values) -> bool:
    """Whole numbers, each once, that either fill a range or are called an id."""
    if not values.is_integer or values.missing or values.rows < _ID_ROWS or len(values.distinct) < values.rows:
        return False
    fills_range = float(values.distinct[-1]) - float(values.distinct[0]) + 1 == values.rows
    return fills_range or _has_id_name(name)


def _has_id_name(name: str) -> bool:
    return bool(_ID_NAME.fullmatch(name) or _ID_NAME.fullmatch(name.lower()))


def _text_kind(values: Values) -> ColumnKind:
    present = int(values.counts.sum())
    sample = values.distinct[:: max(1, len(values.distinct) // 2000)]
    words = float(np.mean([text.count(" ") + 1 for text in sample]))
    share = len(values.distinct) / present
    if words >= _TEXT_WORDS and share > _TEXT_SHARE and len(values.distinct) > _ID_ROWS:
        return ColumnKind.TEXT
    if share >= _ID_SHARE and present >= _ID_ROWS:
        return ColumnKind.TEXT if words >= _TEXT_WORDS / 2 else ColumnKind.ID
    return ColumnKind.CATEGORY
