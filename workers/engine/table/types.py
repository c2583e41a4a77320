"""From text to natural types: every column of text narrows a ladder of readings until one fits all its values."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

from ..errors import TableError
from .tokens import MISSING, MISSING_NUMBER

TEXT, NUMBER, INTEGER = pa.string(), pa.float64(), pa.int64()
BOOLEAN, TIME = pa.bool_(), pa.timestamp("us")
_MISSING = pa.array(sorted(MISSING))
_MISSING_NUMBER = pa.array(sorted(MISSING_NUMBER))
_TRIAL_ROWS = 256  # a reading that fails on so many values is not tried on all of them
_ODD_SHARE = 0.1
_MIN_YEAR, _MAX_YEAR = 1000, 9999


@dataclass(frozen=True)
class Reading:
    """One way to read text. `convert` raises `pa.ArrowInvalid` where it does not fit."""

    name: str
    type: pa.DataType
    convert: Callable[[pa.Array], pa.Array]


def _integer(text: pa.Array) -> pa.Array:
    return pc.cast(_plain_number(text), INTEGER)


def _number(text: pa.Array) -> pa.Array:
    return pc.cast(_plain_number(text), NUMBER)


def _plain_number(text: pa.Array) -> pa.Array:
    """Refuses codes such as 007 and 0x1F; drops a leading plus."""
    zero = pc.filter(text, pc.starts_with(text, "0"))
    if pc.any(pc.match_substring_regex(zero, "^0[0-9xX]")).as_py():
        raise pa.ArrowInvalid("leading zero")
    return pc.utf8_ltrim(text, "+") if pc.any(pc.starts_with(text, "+")).as_py() else text


def _grouped(mark: str, decimal: str) -> Callable[[pa.Array], pa.Array]:
    """Numbers such as 1.234,5 (`mark` ".", `decimal` ",") or 1,234.5."""
    group, point = "\\" + mark, "\\" + decimal
    pattern = rf"^[+-]?([1-9][0-9]{{0,2}}({group}[0-9]{{3}})+|0|[1-9][0-9]*)?({point}[0-9]+)?([eE][+-]?[0-9]+)?$"

    def convert(text: pa.Array) -> pa.Array:
        if not pc.all(pc.match_substring_regex(text, pattern)).as_py():
            raise pa.ArrowInvalid("no such number")
        bare = pc.replace_substring(text, mark, "")
        return _number(pc.replace_substring(bare, decimal, "."))

    return convert


def _boolean(text: pa.Array) -> pa.Array:
    lower = pc.utf8_lower(text)
    is_true, is_false = pc.equal(lower, "true"), pc.equal(lower, "false")
    if not pc.all(pc.or_(is_true, is_false)).as_py():
        raise pa.ArrowInvalid("no boolean")
    return is_true


def _iso(type_: pa.DataType) -> Callable[[pa.Array], pa.Array]:
    return lambda text: _sane_years(pc.cast(pc.cast(text, type_), TIME, safe=False))


def _format(pattern: str) -> Callable[[pa.Array], pa.Array]:
    return lambda text: _sane_years(pc.strptime(text, format=pattern, unit="us"))


def _sane_years(times: pa.Array) -> pa.Array:
    """12/5/21 read as the year 21 is a wrong reading, not an old date."""
    years = pc.min_max(pc.year(times)).as_py()
    if years["min"] is not None and (years["min"] < _MIN_YEAR or years["max"] > _MAX_YEAR):
        raise pa.ArrowInvalid("no sane year")
    return times


_DAYS = (
    "%m/%d/%Y", "%d/%m/%Y", "%Y/%m/%d", "%d.%m.%Y", "%d-%m-%Y", "%m-%d-%Y", "%m/%d/%y", "%d/%m/%y", "%d.%m.%y",
    "%d-%b-%Y", "%d %b %Y", "%b %d %Y", "%b %d, %Y", "%d %B %Y", "%B %d, %Y", "%d-%b-%y",
)  # fmt: skip
_TIMES = ("", " %H:%M", " %H:%M:%S", " %I:%M %p", " %I:%M:%S %p")
_DATES = (
    Reading("iso", TIME, _iso(TIME)),
    Reading("iso ns", TIME, _iso(pa.timestamp("ns"))),
    Reading("iso utc", TIME, _iso(pa.timestamp("us", "UTC"))),
    Reading("iso utc ns", TIME, _iso(pa.timestamp("ns", "UTC"))),
    *(Reading(day + time, TIME, _format(day + time)) for day in _DAYS for time in _TIMES),
)
_LAST = Reading("text", TEXT, lambda text: text)


def ladder(*, comma_is_decimal: bool) -> list[Reading]:
    """Every reading, narrowest first. A column of 03/04/2020 alone is read month first; of 03.04.2020 day first."""
    grouped = _grouped(".", ",") if comma_is_decimal else _grouped(",", ".")
    return [
        Reading("integer", INTEGER, _integer),
        Reading("number", NUMBER, _number),
        Reading("grouped", NUMBER, grouped),
        Reading("boolean", BOOLEAN, _boolean),
        *_DATES,
        _LAST,
    ]


def dates() -> list[Reading]:
    """Readings of dates, and text as the last."""
    return [*_DATES, _LAST]


def fixed_text() -> list[Reading]:
    """Text and nothing else: for columns that the file itself declares."""
    return [_LAST]


@dataclass
class TextColumn:
    """The readings that still fit everything seen of one column."""

    alive: list[Reading] = field(default_factory=list)
    seen: bool = False  #: some value was not missing
    broken_by: str | None = None  #: the value that kept a column of numbers from being one

    @property
    def formats(self) -> list[str]:
        """How its dates are written, for strptime; empty for ISO 8601 and for what is no date."""
        reading = self.alive[0]
        return [reading.name] if self.seen and reading.type == TIME and "%" in reading.name else []

    @property
    def type(self) -> pa.DataType:
        """What the column is, as far as seen."""
        return self.alive[0].type if self.seen else TEXT

    def convert(self, text: pa.Array) -> pa.Array:
        """Read a part of the column, narrowing `alive` to what fits it."""
        text = without_tokens(text)
        values = without_number_tokens(text)
        if values.null_count == len(values):
            return text if self.type == TEXT else pa.nulls(len(text), self.type)
        first = self.alive[0]
        while (read := _attempt(self.alive[0], values if self.alive[0] is not _LAST else text)) is None:
            self.alive.pop(0)
        if first.type in (INTEGER, NUMBER) and self.alive[0] is _LAST:
            self.broken_by = _odd_word(values, all_numbers_before=self.seen)
        self.seen = True
        return read


def _attempt(reading: Reading, text: pa.Array) -> pa.Array | None:
    try:
        if len(text) > 2 * _TRIAL_ROWS:
            reading.convert(text.slice(0, _TRIAL_ROWS))
        return reading.convert(text)
    except pa.ArrowInvalid:
        return None


def _odd_word(text: pa.Array, *, all_numbers_before: bool) -> str | None:
    """The first value that is no number, if nearly all others are numbers."""
    text = text.drop_null()
    is_number = pc.match_substring_regex(text, r"^[+-]?[0-9.,]+([eE][+-]?[0-9]+)?$")
    words = pc.filter(text, pc.invert(is_number))
    if len(words) == 0 or not (all_numbers_before or len(words) <= _ODD_SHARE * len(text)):
        return None
    return str(words[0])[:80]


def without_tokens(text: pa.Array) -> pa.Array:
    """Trimmed, and null where a token says that the value is missing."""
    trimmed = pc.utf8_trim_whitespace(text)
    return pc.if_else(pc.is_in(trimmed, value_set=_MISSING), pa.scalar(None, TEXT), trimmed)


def without_number_tokens(text: pa.Array) -> pa.Array:
    """Null also where a token means "missing" among numbers."""
    return pc.if_else(pc.is_in(text, value_set=_MISSING_NUMBER), pa.scalar(None, TEXT), text)


def natural(array: pa.Array, name: str) -> pa.Array:
    """A typed array as one of the five types that the Parquet keeps.

    Raises:
        TableError: nested_values, unsupported_type.
    """
    type_ = array.type
    if isinstance(type_, pa.BaseExtensionType):
        return natural(array.storage, name)
    if pa.types.is_dictionary(type_):
        return natural(array.dictionary_decode(), name)
    if pa.types.is_nested(type_):
        raise TableError(
            f"Column {name!r} holds lists or objects. Give each part a column of its own.", "nested_values"
        )
    try:
        return _natural(array, type_, name)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise TableError(f"Column {name!r} ({type_}) can't be read: {error}.", "unsupported_type") from error


def _natural(array: pa.Array, type_: pa.DataType, name: str) -> pa.Array:
    types = pa.types
    if types.is_null(type_) or types.is_boolean(type_):
        return array if types.is_boolean(type_) else pa.nulls(len(array), TEXT)
    if types.is_integer(type_) and not types.is_uint64(type_):
        return pc.cast(array, INTEGER)
    if types.is_integer(type_) or types.is_floating(type_) or types.is_decimal(type_):
        return without_nan(pc.cast(array, NUMBER, safe=False))
    if types.is_temporal(type_) and not types.is_interval(type_):
        return _natural_time(array, type_)
    is_text = types.is_string(type_) or types.is_large_string(type_) or types.is_string_view(type_)
    if is_text or types.is_binary(type_) or types.is_large_binary(type_) or types.is_binary_view(type_):
        return without_nul(pc.cast(array, TEXT))
    raise TableError(f"Column {name!r} has the type {type_}, which is not supported.", "unsupported_type")


def _natural_time(array: pa.Array, type_: pa.DataType) -> pa.Array:
    if pa.types.is_timestamp(type_) or pa.types.is_date(type_):
        return pc.cast(pc.cast(array, pa.timestamp("us", getattr(type_, "tz", None)), safe=False), TIME)
    ticks = pc.cast(array, pa.int32() if pa.types.is_time32(type_) else INTEGER)
    per_second = {"s": 1, "ms": 1e3, "us": 1e6, "ns": 1e9}[type_.unit]
    return pc.divide(pc.cast(ticks, NUMBER, safe=False), float(per_second))


def without_nan(array: pa.Array) -> pa.Array:
    """Not a number is missing."""
    return pc.if_else(pc.is_nan(array), pa.scalar(None, NUMBER), array)


def without_nul(text: pa.Array) -> pa.Array:
    """NUL characters become U+FFFD: no database keeps them in text."""
    if pc.any(pc.match_substring(text, "\0")).as_py():
        return pc.replace_substring(text, "\0", "\ufffd")
    return text
