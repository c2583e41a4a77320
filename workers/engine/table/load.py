"""A stored table as the engine wants it: features as typed columns, the target as class indices or numbers.

`columns` is everywhere the dataset's own list (`profile.column_info`), kinds as overridden by PATCH.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ..bundle.runtime.schema import Columns, Field, Schema
from ..errors import TaskError
from ..types import ColumnKind, TaskKind
from .cast import CASTS, to_categories, to_numbers, to_times

MIN_ROWS = 10
MAX_CLASSES = 2_000
Info = Mapping[str, Any]


@dataclass(frozen=True)
class TypedTable:
    """Features of a task."""

    schema: Schema
    columns: Columns
    n_rows: int


class Target(NamedTuple):
    """What is to be predicted, for the rows that have it."""

    y: NDArray[Any]  #: int64 class indices, or float64
    classes: tuple[str, ...]  #: labels by index; binary: (negative, positive); empty in regression
    mask: NDArray[np.bool_]  #: over all rows of the table: those that `y` holds


def load_table(
    parquet: Path,
    columns: Sequence[Info],
    *,
    include: Collection[str] | None = None,
    exclude: Collection[str] = (),
    kinds: Mapping[str, str] | None = None,
    reserved: Collection[str | None] = (),
    mask: NDArray[np.bool_] | None = None,
) -> TypedTable:
    """The features, in file order.

    Args:
        parquet: the stored table.
        columns: the dataset's list.
        include: only these; may name an id column, which is no feature otherwise. None: all.
        exclude: not these.
        kinds: kinds for this job, over those of the dataset.
        reserved: target, weights, group and time columns: never features. None entries are ignored.
        mask: rows to keep, as `Target.mask`. Vocabularies hold only what these rows hold.

    Raises:
        TaskError: a name that is no column, a column that can't be read as its kind, or no feature left.
    """
    chosen = choose_features(columns, include=include, exclude=exclude, kinds=kinds, reserved=reserved)
    names = [info["name"] for info, _ in chosen]
    stored = _read_rows(parquet, names, mask)
    fields: list[Field] = []
    typed: Columns = {}
    for info, kind in chosen:
        field, values = _typed(info, kind, stored.column(info["name"]))
        fields.append(field)
        typed[field.name] = values
    return TypedTable(Schema(tuple(fields)), typed, stored.num_rows)


def _read_rows(parquet: Path, names: list[str], mask: NDArray[np.bool_] | None) -> pa.Table:
    """The masked rows; of the others one row group at a time is in memory."""
    with pq.ParquetFile(parquet) as file:
        if mask is None or mask.all():
            return file.read(columns=names)
        parts, start = [], 0
        for place in range(file.num_row_groups):
            group = file.read_row_group(place, columns=names)
            parts.append(group.filter(pa.array(mask[start : start + group.num_rows])))
            start += group.num_rows
    return pa.concat_tables(parts)


def _typed(info: Info, kind: str, column: pa.ChunkedArray) -> tuple[Field, NDArray[Any]]:
    name, formats = info["name"], tuple(info.get("formats", ()))
    if kind == ColumnKind.CATEGORY:
        codes, vocabulary = to_categories(column)
        return Field(name, kind, vocabulary, nullable=bool((codes < 0).any())), codes
    values = CASTS[kind](column, name)
    is_missing = values == "" if kind == ColumnKind.TEXT else np.isnan(values)
    return Field(name, kind, nullable=bool(np.any(is_missing)), formats=formats), values


def check_kind(parquet: Path, info: Info) -> None:
    """Whether the first row group of a column can be read as `info["kind"]`.

    Raises:
        TaskError: it can't, with an example.
    """
    if info["kind"] in (ColumnKind.ID, ColumnKind.CONSTANT):
        return
    with pq.ParquetFile(parquet) as file:
        _typed(info, info["kind"], file.read_row_group(0, columns=[info["name"]]).column(info["name"]))


def choose_features(
    columns: Sequence[Info],
    *,
    include: Collection[str] | None = None,
    exclude: Collection[str] = (),
    kinds: Mapping[str, str] | None = None,
    reserved: Collection[str | None] = (),
) -> list[tuple[Info, str]]:
    """Which columns are features, and as what. Reads no data, so that a job spec can be checked with it.

    Raises:
        TaskError: a name that is no column, or no feature left.
    """
    kinds = kinds or {}
    for name in [*(include or ()), *exclude, *kinds]:
        find_column(columns, name)
    chosen = []
    for info in columns:
        name = info["name"]
        if name in reserved or name in exclude or (include is not None and name not in include):
            continue
        kind = _feature_kind(info, kinds.get(name), is_included=include is not None)
        if kind is not None:
            chosen.append((info, kind))
    if not chosen:
        raise TaskError(_why_no_features(columns, reserved))
    return chosen


_NATURAL = {"integer": "number", "number": "number", "boolean": "boolean", "datetime": "datetime", "text": "category"}


def _feature_kind(info: Info, override: str | None, *, is_included: bool) -> str | None:
    """The kind to read a feature as; None: it is none."""
    kind = str(override or info["kind"])
    if kind == ColumnKind.ID and is_included and override is None:
        return _NATURAL[info["type"]]
    return None if kind in (ColumnKind.ID, ColumnKind.CONSTANT) else kind


def _why_no_features(columns: Sequence[Info], reserved: Collection[str | None]) -> str:
    others = [info for info in columns if info["name"] not in reserved]
    if not others:
        return "The table has no column besides the target: there is nothing to learn from."
    if all(info["kind"] == ColumnKind.CONSTANT for info in others):
        return "Every column besides the target holds one value only: there is nothing to learn from."
    if all(info["kind"] in (ColumnKind.CONSTANT, ColumnKind.ID) for info in others):
        return "Every column besides the target is constant or an id. Include one by name, or change its kind."
    return "No feature is left: `features` takes away every usable column."


def find_column(columns: Sequence[Info], name: str, what: str = "Column") -> Info:
    """The entry of this name.

    Raises:
        TaskError: no such column; says which names are near.
    """
    for info in columns:
        if info["name"] == name:
            return info
    names = [str(info["name"]) for info in columns]
    near = get_close_matches(name, names, n=3) or names[:5]
    raise TaskError(f"{what} {name!r} is not in the table. Did you mean {', '.join(map(repr, near))}?")


def load_target(
    parquet: Path, columns: Sequence[Info], target: str, kind: TaskKind | str, *, positive_class: str | None = None
) -> Target:
    """The target. Rows where it is missing (or infinite) are left out; `mask` says which remain.

    Args:
        parquet: the stored table.
        columns: the dataset's list.
        target: name of the column.
        kind: of the task.
        positive_class: the label that comes second in a binary task; None: the later one in order.

    Raises:
        TaskError: the column can't be this target; says what to change.
    """
    info = find_column(columns, target, "Target")
    column = _read(parquet, target)
    y, classes, mask = (_class_target if TaskKind(kind).is_classification else _number_target)(column, info)
    if not mask.any():
        raise TaskError(f"Target {target!r} is missing in every row.")
    if mask.sum() < MIN_ROWS:
        raise TaskError(f"Only {mask.sum()} rows have a target; at least {MIN_ROWS} are needed.")
    if TaskKind(kind).is_classification:
        _check_classes(target, classes, TaskKind(kind), int(mask.sum()))
    elif np.ptp(y) == 0:
        raise TaskError(f"Target {target!r} is {y[0]:g} in every row: there is nothing to predict.")
    if positive_class is not None and kind == TaskKind.BINARY:
        y, classes = _with_positive(y, classes, positive_class)
    return Target(y, classes, mask)


def _read(parquet: Path, name: str) -> pa.ChunkedArray:
    with pq.ParquetFile(parquet) as file:
        return file.read(columns=[name]).column(name)


def _class_target(column: pa.ChunkedArray, info: Info) -> Target:
    codes, classes = to_categories(column)
    mask = codes >= 0
    return Target(codes[mask].astype(np.int64), classes, mask)


def _number_target(column: pa.ChunkedArray, info: Info) -> Target:
    if pa.types.is_timestamp(column.type):
        raise TaskError(f"Target {info['name']!r} holds dates; regression needs numbers.")
    numbers = to_numbers(column, info["name"])
    mask = ~np.isnan(numbers)
    return Target(numbers[mask], (), mask)


def _check_classes(target: str, classes: tuple[str, ...], kind: TaskKind, rows: int) -> None:
    count = len(classes)
    if count == 1:
        raise TaskError(f"Target {target!r} is {classes[0]!r} in every row: at least two classes are needed.")
    if kind is TaskKind.BINARY and count != 2:
        raise TaskError(f"Target {target!r} has {count:,} classes; binary needs exactly two. Use kind multiclass.")
    if count > max(2, rows // 2) or count > MAX_CLASSES:
        raise TaskError(
            f"Target {target!r} has {count:,} classes in {rows:,} rows, too many to learn. "
            "Is it an id, or should the kind be regression?"
        )


def _with_positive(y: NDArray[Any], classes: tuple[str, ...], positive: str) -> tuple[NDArray[Any], tuple[str, ...]]:
    if positive not in classes:
        raise TaskError(f"positive_class {positive!r} is not a class; classes are {classes[0]!r} and {classes[1]!r}.")
    return (y, classes) if classes[1] == positive else (1 - y, classes[::-1])


def load_weights(parquet: Path, columns: Sequence[Info], name: str, mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Sample weights of the masked rows.

    Raises:
        TaskError: no such column, a weight that is missing or negative, or all of them zero.
    """
    find_column(columns, name, "Weights column")
    weights = to_numbers(_read(parquet, name), name)[mask]
    if np.isnan(weights).any() or (weights < 0).any() or not weights.any():
        raise TaskError(f"Weights column {name!r} must hold a number >= 0 in every row, and not only zeros.")
    return weights


def load_groups(parquet: Path, columns: Sequence[Info], name: str, mask: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Group of each masked row as an index; rows without one are a group each.

    Raises:
        TaskError: no such column, or fewer than two groups.
    """
    find_column(columns, name, "Group column")
    codes = to_categories(_read(parquet, name))[0][mask].astype(np.int64)
    alone = codes < 0
    codes[alone] = codes.max(initial=0) + 1 + np.arange(alone.sum())
    if len(np.unique(codes)) < 2:
        raise TaskError(f"Group column {name!r} holds one group only; at least two are needed.")
    return codes


def load_times(parquet: Path, columns: Sequence[Info], name: str, mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Time of each masked row: seconds since 1970, or the number that the column holds.

    Raises:
        TaskError: no such column, no dates or numbers, or a row without.
    """
    find_column(columns, name, "Time column")
    times = to_times(_read(parquet, name), name)[mask]
    if np.isnan(times).any():
        raise TaskError(f"Time column {name!r} is missing in {int(np.isnan(times).sum()):,} rows; every row needs one.")
    return times
