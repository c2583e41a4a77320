"""One column of the stored Parquet, in the form that statistics need."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ..bundle.runtime.values import canonical_text

_TEXT_BYTES = 256 << 20  # of one column's distinct texts in memory; beyond that a sample of row groups tells


@dataclass(frozen=True)
class Values:
    """A column: its distinct values with counts, and for each row which one it is."""

    type: str  #: integer, number, boolean, datetime, text
    rows: int
    missing: int
    distinct: NDArray[Any]  #: sorted: int64, float64, bool, int64 microseconds; text: objects
    counts: NDArray[np.int64]  #: of `distinct`
    codes: NDArray[np.int32]  #: place in `distinct` of each row read, -1 missing
    is_sampled: bool = False  #: only some rows were read; `rows` and `missing` are of all

    @property
    def is_numeric(self) -> bool:
        """Whether `distinct` holds numbers."""
        return self.type in ("integer", "number")

    @property
    def is_integer(self) -> bool:
        """Whether every value is a whole number (or infinite)."""
        if self.type == "number":
            finite = self.distinct[np.isfinite(self.distinct)]
            return len(finite) > 0 and bool(np.all(finite == np.floor(finite)))
        return self.type == "integer"

    @cached_property
    def digest(self) -> bytes:
        """Equal for columns that hold the same values in the same rows."""
        digest = hashlib.blake2b(self.codes.tobytes(), digest_size=16)
        first = self.distinct[:1000]
        digest.update("\0".join(first).encode() if self.type == "text" else first.astype(np.float64).tobytes())
        return digest.digest()

    def labels(self, which: slice | NDArray[Any] = slice(None)) -> list[str]:
        """Distinct values as text, the way categories are spelled."""
        if self.type == "datetime":
            return [str(value) for value in self.distinct[which].astype("datetime64[us]")]
        return [canonical_text(value) for value in self.distinct[which]]


def read_values(file: pq.ParquetFile, field: pa.Field, place: int) -> Values:
    """The column of this field, at this place in the file's schema."""
    name, type_ = field.name, field.type
    if pa.types.is_string(type_):
        return _text_values(file, name, place)
    array = file.read(columns=[name]).column(name)
    raw = _as_numpy(array.drop_null(), type_)
    distinct, codes, counts = np.unique(raw, return_inverse=True, return_counts=True)
    return Values(
        type=_TYPE_NAMES[type_],
        rows=len(array),
        missing=array.null_count,
        distinct=distinct,
        counts=counts,
        codes=_spread(codes, array),
    )


_TYPE_NAMES = {pa.int64(): "integer", pa.float64(): "number", pa.bool_(): "boolean", pa.timestamp("us"): "datetime"}


def _as_numpy(array: pa.ChunkedArray, type_: pa.DataType) -> NDArray[Any]:
    if pa.types.is_timestamp(type_):
        array = pc.cast(array, pa.int64())
    result: NDArray[Any] = array.to_numpy()
    return result


def _spread(codes: NDArray[np.intp], array: pa.ChunkedArray) -> NDArray[np.int32]:
    """Codes of the present values at their rows."""
    if array.null_count == 0:
        return codes.astype(np.int32)
    spread = np.full(len(array), -1, dtype=np.int32)
    spread[pc.is_valid(array).to_numpy()] = codes
    return spread


def _text_values(file: pq.ParquetFile, name: str, place: int) -> Values:
    chunks, is_sampled = _encoded_groups(file, name)
    encoded = pa.chunked_array(chunks, type=pa.dictionary(pa.int32(), pa.string())).unify_dictionaries()
    words = encoded.chunk(0).dictionary if encoded.num_chunks else pa.array([], pa.string())
    raw = pa.chunked_array([chunk.indices for chunk in encoded.chunks], type=pa.int32())
    codes = raw.fill_null(-1).to_numpy()
    order = pc.sort_indices(words).to_numpy()
    rank = np.empty(len(order) + 1, dtype=np.int32)
    rank[order] = np.arange(len(order), dtype=np.int32)
    rank[-1] = -1
    codes = rank[codes]
    return Values(
        type="text",
        rows=file.metadata.num_rows,
        missing=_missing(file.metadata, place),
        distinct=words.take(pa.array(order)).to_numpy(zero_copy_only=False),
        counts=np.bincount(codes[codes >= 0], minlength=len(order)),
        codes=codes,
        is_sampled=is_sampled,
    )


def _encoded_groups(file: pq.ParquetFile, name: str) -> tuple[list[pa.Array], bool]:
    """Row groups as dictionaries, in file order; evenly spread ones if all would take too much memory."""
    count = file.num_row_groups
    chunks: dict[int, pa.Array] = {}
    size = 0
    for group in _spread_order(count):
        encoded = file.read_row_group(group, columns=[name]).column(name).combine_chunks().dictionary_encode()
        chunks[group] = encoded
        size += encoded.dictionary.nbytes
        if size > _TEXT_BYTES and len(chunks) < count:
            return [chunks[place] for place in sorted(chunks)], True
    return [chunks[place] for place in sorted(chunks)], False


def _spread_order(count: int) -> Iterator[int]:
    """Every group once; any prefix lies evenly over the file."""
    step = 1 << max(0, count - 1).bit_length()
    seen: set[int] = set()
    while step >= 1:
        for group in range(0, count, step):
            if group not in seen:
                seen.add(group)
                yield group
        step //= 2


def _missing(metadata: pq.FileMetaData, place: int) -> int:
    groups = range(metadata.num_row_groups)
    return sum(metadata.row_group(group).column(place).statistics.null_count for group in groups)
