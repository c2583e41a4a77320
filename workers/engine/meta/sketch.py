"""MinHash of a table's rows: recognises a table that was seen before, or a sample of it, without keeping any row.

128 numbers of 32 bits, by one-permutation hashing (Li et al. 2012): a hash picks its slot, each slot keeps its least.
The first 64 slots hold exact rows, so that two samples with rows in common are alike. The last 64 hold coarse pairs of
neighbouring cells, so that two halves of one table are alike though they share no row.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..bundle.runtime.schema import Columns, Field, Schema

SLOTS = 64
ALIKE = 0.25  #: similarity from which two tables count as the same data
_TELLING = 16  # slots: tables that hold little but a few codes use fewer, and are alike without being related
_EMPTY = np.uint32(0xFFFFFFFF)
_COARSE_ROWS = 20_000
_NOTHING = np.uint64(0)  #: of a missing cell, and of 0: a column that is constant in a sample changes no row

Hashes = NDArray[np.uint64]


def sketch(columns: Columns, schema: Schema, y: NDArray[Any] | None = None, classes: tuple[str, ...] = ()) -> bytes:
    """512 bytes for a table. With the target, a part of the row, the data is known under another target too."""
    cells = [_cells(columns[field.name], field) for field in schema.fields]
    coarse = [_coarse_cells(columns[field.name], field) for field in schema.fields]
    if y is not None:
        target = Field("", "category" if classes else "number", classes)
        cells.append(_cells(y, target))
        coarse.append(_coarse_cells(y, target))
    if not cells or len(cells[0]) == 0:
        return np.full(2 * SLOTS, _EMPTY).tobytes()
    rows = _mix(np.sum(cells, axis=0, dtype=np.uint64))  # in whatever order columns come
    return np.concatenate([_least(rows), _least(_pairs(coarse))]).tobytes()


def similarity(left: bytes, right: bytes, fewest: int = 1) -> float:
    """0 for unrelated tables, 1 for the same: the larger of the Jaccard estimates of rows and of coarse cells.

    Args:
        left: a sketch.
        right: another.
        fewest: slots that either uses, of rows or of coarse cells, for these to count.
    """
    a, b = (np.frombuffer(data, dtype=np.uint32).reshape(2, SLOTS) for data in (left, right))
    used = (a != _EMPTY) | (b != _EMPTY)
    same, told = ((a == b) & used).sum(axis=1), used.sum(axis=1)
    return float(np.where(told >= fewest, same / np.maximum(told, 1), 0.0).max())


def find_alike(one: bytes, others: Sequence[bytes]) -> int | None:
    """The place of the most similar of the others; None if none counts as the same data, as none of another format."""
    similarities = [similarity(one, other, _TELLING) if len(other) == len(one) else 0.0 for other in others]
    best = int(np.argmax(similarities)) if similarities else -1
    return best if best >= 0 and similarities[best] >= ALIKE else None


def _least(hashes: Hashes) -> NDArray[np.uint32]:
    """The least hash of every slot."""
    slots = np.full(SLOTS, _EMPTY)
    np.minimum.at(slots, (hashes % SLOTS).astype(np.intp), (hashes >> np.uint64(32)).astype(np.uint32))
    return slots


def _pairs(cells: list[Hashes]) -> Hashes:
    """Hashes of neighbouring cells, both of which hold something."""
    rows = np.stack([cell[:_COARSE_ROWS] for cell in cells])
    after = np.roll(rows, -1, axis=0)
    told = (rows != _NOTHING) & (after != _NOTHING)
    return _mix(rows[told] + _mix(after[told]))


def _cells(values: NDArray[Any], field: Field) -> Hashes:
    """A hash a cell. 3, 3.0 and the category "3" are equal."""
    if field.kind == "category":
        known = [*(_label(label) for label in field.vocabulary), 0, 0]  # …, unseen, missing
        return np.array(known, dtype=np.uint64)[values.astype(np.int64)]
    if field.kind == "text":
        texts, places = np.unique(values.astype(str), return_inverse=True)
        return np.array([_label(text) for text in texts], dtype=np.uint64)[places]
    return _numbers(values.astype(np.float64))


def _coarse_cells(values: NDArray[Any], field: Field) -> Hashes:
    """The same with numbers rounded to one digit, and texts to their number of words."""
    values = values[:_COARSE_ROWS]
    if field.kind == "category":
        return _cells(values, field)
    if field.kind == "text":
        return _numbers(np.array([text.count(" ") for text in values], dtype=np.float64))
    numbers = values.astype(np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        step = 10.0 ** np.floor(np.log10(np.abs(numbers)))
        rounded = np.where(numbers == 0, 0.0, np.round(numbers / step) * step)
    return _numbers(rounded)


def _numbers(numbers: NDArray[np.float64]) -> Hashes:
    hashed = _mix((numbers + 0.0).view(np.uint64))
    return np.where(np.isnan(numbers) | (numbers == 0), _NOTHING, hashed)


def _label(label: str) -> int:
    if label == "":
        return 0
    try:
        number = float(label)
    except ValueError:
        return _hash_text(label)
    return int(_numbers(np.array([number]))[0])


def _hash_text(text: str) -> int:
    from hashlib import blake2b

    return int.from_bytes(blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")


def _mix(values: Hashes) -> Hashes:
    """The finaliser of splitmix64: every input bit changes every output bit."""
    values = values + np.uint64(0x9E3779B97F4A7C15)
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
