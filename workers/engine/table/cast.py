"""A stored column as an array of the kind that is asked for, overrides included."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ..bundle.runtime.values import FALSE_WORDS, TRUE_WORDS, canonical_text
from ..errors import TaskError
from .types import TextColumn, dates, without_number_tokens, without_tokens

Array = NDArray[Any]
_NUMBER = r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$"


def to_numbers(column: pa.ChunkedArray, name: str) -> Array:
    """float64, NaN missing; infinite values are missing, as is text that is no number.

    Raises:
        TaskError: no text is a number.
    """
    if pa.types.is_timestamp(column.type):
        return _seconds(column)
    if pa.types.is_string(column.type):
        column = _numbers_of_text(column, name)
    numbers: Array = pc.cast(column, pa.float64(), safe=False).fill_null(np.nan).to_numpy()
    is_infinite = np.isinf(numbers)
    return np.where(is_infinite, np.nan, numbers) if is_infinite.any() else numbers


def _numbers_of_text(column: pa.ChunkedArray, name: str) -> pa.ChunkedArray:
    text = without_number_tokens(without_tokens(column))
    is_number = pc.match_substring_regex(text, _NUMBER)
    if text.null_count < len(text) and not pc.any(is_number).as_py():
        raise TaskError(f"Column {name!r} can't be numbers: it holds {_example(text)!r}.")
    bare = pc.if_else(is_number, pc.utf8_ltrim(text, "+"), pa.scalar(None, pa.string()))
    return pc.cast(bare, pa.float64())


def to_booleans(column: pa.ChunkedArray, name: str) -> Array:
    """float64 of 0 and 1, NaN missing.

    Raises:
        TaskError: something is neither true nor false.
    """
    if pa.types.is_string(column.type):
        words = pc.utf8_lower(without_tokens(column))
        is_true = pc.is_in(words, value_set=pa.array(sorted(TRUE_WORDS)))
        is_known = pc.or_(is_true, pc.is_in(words, value_set=pa.array(sorted(FALSE_WORDS))))
        strange = pc.filter(words, pc.and_(pc.is_valid(words), pc.invert(is_known)))
        if len(strange):
            raise TaskError(f"Column {name!r} can't be boolean: it holds {_example(strange)!r}.")
        column = pc.if_else(pc.is_valid(words), is_true, pa.scalar(None, pa.bool_()))
    numbers = to_numbers(column, name)
    strange_numbers = numbers[~np.isin(numbers, (0.0, 1.0)) & ~np.isnan(numbers)]
    if len(strange_numbers):
        raise TaskError(f"Column {name!r} can't be boolean: it holds {canonical_text(strange_numbers[0])}.")
    return numbers


def to_times(column: pa.ChunkedArray, name: str) -> Array:
    """Seconds since 1970 UTC as float64, NaN missing. Numbers are such seconds already.

    Raises:
        TaskError: text that is no date in one of the known formats.
    """
    if pa.types.is_string(column.type):
        text = TextColumn(dates())
        read = text.convert(column.combine_chunks())
        if not pa.types.is_timestamp(read.type) and read.null_count < len(read):
            raise TaskError(f"Column {name!r} can't be dates: no one format fits, for instance {_example(read)!r}.")
        column = pc.cast(read, pa.timestamp("us"))
    return _seconds(column) if pa.types.is_timestamp(column.type) else to_numbers(column, name)


def _seconds(column: Any) -> Array:
    ticks = pc.cast(pc.cast(column, pa.int64()), pa.float64(), safe=False)
    seconds: Array = ticks.fill_null(np.nan).to_numpy(zero_copy_only=False) / 1e6
    return seconds


def to_categories(column: pa.ChunkedArray) -> tuple[Array, tuple[str, ...]]:
    """int32 codes, -1 missing, and the vocabulary in a fixed order: numbers by value, text by code point."""
    encoded = column.combine_chunks().dictionary_encode()
    values = encoded.dictionary
    keep = _finite(values)
    order = pc.sort_indices(values).to_numpy()
    order = order[keep[order]]
    place = np.full(len(values) + 1, -1, dtype=np.int32)
    place[order] = np.arange(len(order), dtype=np.int32)
    codes = place[encoded.indices.fill_null(len(values)).to_numpy(zero_copy_only=False)]
    return codes, tuple(labels(values.take(pa.array(order))))


def _finite(values: pa.Array) -> Array:
    if pa.types.is_floating(values.type):
        finite: Array = np.isfinite(values.to_numpy(zero_copy_only=False))
        return finite
    return np.ones(len(values), dtype=bool)


def labels(values: pa.Array) -> list[str]:
    """Values as categories are spelled."""
    if pa.types.is_timestamp(values.type):
        return [str(value) for value in values.to_numpy(zero_copy_only=False)]
    return [canonical_text(value) for value in values.to_pylist()]


def to_texts(column: pa.ChunkedArray) -> Array:
    """Objects of str, "" missing."""
    if not pa.types.is_string(column.type):
        codes, vocabulary = to_categories(column)
        return np.array([*vocabulary, ""], dtype=object)[codes]
    texts: Array = column.fill_null("").to_numpy()
    return texts


def _example(text: Any) -> str:
    return str(text.drop_null()[0])[:60]


CASTS: dict[str, Callable[[pa.ChunkedArray, str], Array]] = {
    "number": to_numbers,
    "boolean": to_booleans,
    "datetime": to_times,
    "text": lambda column, name: to_texts(column),
}
