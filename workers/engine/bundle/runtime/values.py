"""Single values as people send them: text, numbers, booleans, dates. A parser raises BadValue with what to change."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any

import numpy as np

from .errors import BadValue

#: Words that mean "no value" in every column, in lower case; what reading tables takes for missing, too.
MISSING_WORDS = frozenset({"", "na", "n/a", "nan", "-nan", "null", "?", "#n/a", "#na", "<na>", "nat"})
#: The same where the column is numbers, booleans or dates; elsewhere these are words like any other.
MISSING_NUMBERS = MISSING_WORDS | {".", "..", "-", "--", "none", "missing", "nil", "#div/0!"}
TRUE_WORDS = frozenset({"true", "yes", "t", "y", "1", "on"})
FALSE_WORDS = frozenset({"false", "no", "f", "n", "0", "off"})

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SECONDS_MIN, _SECONDS_MAX = -62_135_596_800.0, 253_402_300_800.0  # years 1 to 9999


def canonical_text(value: Any) -> str:
    """How a value is spelled as a category: 3.0 -> "3", 2.5 -> "2.5", True -> "true"; text loses outer blanks."""
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, (bool, np.bool_)):
        return "true" if value else "false"
    if isinstance(value, (int, np.integer)):
        return str(int(value))
    if isinstance(value, (float, np.floating)):
        number = float(value)
        return str(int(number)) if number.is_integer() and abs(number) < 1e15 else repr(number)
    return str(value)


def numeric_spelling(text: str) -> str:
    """The canonical spelling of a text that is a number ("3.0" -> "3"), else the text as it is."""
    try:
        number = float(text)
    except ValueError:
        return text
    return canonical_text(number) if abs(number) < 1e15 else text


def is_missing_word(text: str) -> bool:
    """Whether a category or text means "no value"."""
    return text.strip().lower() in MISSING_WORDS


def parse_number(value: Any) -> float:
    """A finite number, NaN for a missing one.

    Raises:
        BadValue: text that is no number, infinity, or another type.
    """
    if value is None:
        return math.nan
    if isinstance(value, str):
        return _number_from_text(value)
    if isinstance(value, (int, float)):
        try:
            number = float(value)
        except OverflowError as error:
            raise BadValue("must be a number within the range of a double") from error
        return _finite(number)
    raise BadValue(f"must be a number or null, not {_type_name(value)}")


def _number_from_text(text: str) -> float:
    if text.strip().lower() in MISSING_NUMBERS:
        return math.nan
    try:
        return _finite(float(text.replace("_", "?")))
    except BadValue:
        raise
    except ValueError as error:
        raise BadValue(f"must be a number, not the text {_short(text)}") from error


def _finite(number: float) -> float:
    if math.isinf(number):
        raise BadValue("must be finite")
    return number


def parse_boolean(value: Any) -> float:
    """1.0 or 0.0, NaN for a missing one.

    Raises:
        BadValue: anything else than a boolean, 0, 1 or one of the usual words.
    """
    if value is None:
        return math.nan
    if isinstance(value, str):
        word = value.strip().lower()
        if word in MISSING_NUMBERS:
            return math.nan
        if word in TRUE_WORDS or word in FALSE_WORDS:
            return 1.0 if word in TRUE_WORDS else 0.0
        if word in ("1.0", "0.0"):
            return float(word)
    elif isinstance(value, (bool, int, float)):
        if value in (0, 1):
            return float(value)
        if value != value:  # NaN
            return math.nan
    raise BadValue(f"must be true, false or null, not {_short(value)}")


def parse_datetime(value: Any, formats: tuple[str, ...] = ()) -> float:
    """Seconds since 1970 UTC, NaN for a missing one. Without a zone it is UTC; numbers are such seconds already.

    Raises:
        BadValue: neither ISO 8601 nor one of `formats` (as strptime reads them), or outside the years 1 to 9999.
    """
    if isinstance(value, str):
        text = value.strip()
        return math.nan if text.lower() in MISSING_NUMBERS else _seconds(_datetime_from_text(text, formats))
    if isinstance(value, bool):
        raise BadValue("must be a date and time, not a boolean")
    number = parse_number(value)
    if number < _SECONDS_MIN or number >= _SECONDS_MAX:
        raise BadValue("must be seconds since 1970, within the years 1 to 9999")
    return number


def _datetime_from_text(text: str, formats: tuple[str, ...]) -> datetime:
    for pattern in formats:
        try:
            return datetime.strptime(text, pattern)
        except ValueError:
            continue
    try:
        return datetime.fromisoformat(text)
    except ValueError as error:
        known = " or ".join(("ISO 8601", *formats))
        raise BadValue(f"must be a date and time as {known}, not {_short(text)}") from error


def _seconds(moment: datetime) -> float:
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return (moment - _EPOCH).total_seconds()


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _type_name(value: Any) -> str:
    return {dict: "an object", list: "an array", bool: "a boolean"}.get(type(value), type(value).__name__)
