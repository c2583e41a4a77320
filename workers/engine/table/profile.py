"""What a stored table looks like: kinds, statistics and alerts, one column at a time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ..types import ColumnKind
from .alerts import column_alerts, file_alerts, make_alert
from .kinds import detect_kind
from .values import Values, read_values

MAX_CLASSES = 100
_MAX_LABEL = 200  # characters of a class label
_BINS = 20
_TOP = 10
_QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
_CLASSLESS = (ColumnKind.ID, ColumnKind.DATETIME)
_STORED_KINDS = {"category": ColumnKind.CATEGORY}


@dataclass(frozen=True, kw_only=True)
class FileNotes:
    """What only the reader of the original file knows, by column name."""

    declared: Mapping[str, str] = field(default_factory=dict)  #: kinds stated by the file
    renamed: Mapping[str, str] = field(default_factory=dict)  #: new name -> name in the file
    broken: Mapping[str, str] = field(default_factory=dict)  #: the one value that kept a column from being numbers
    formats: Mapping[str, list[str]] = field(default_factory=dict)  #: how dates were written


def describe(parquet: Path, notes: FileNotes | None = None) -> dict[str, Any]:
    """`columns`, `profile` and `alerts` of a `ReadTable`."""
    notes = notes or FileNotes()
    columns, profiles, alerts = [], {}, file_alerts(notes.renamed, notes.broken)
    digests: dict[bytes, str] = {}
    with pq.ParquetFile(parquet) as file:
        rows = file.metadata.num_rows
        for place, stored in enumerate(file.schema_arrow):  # read once: it is made anew at every access
            name = stored.name
            values = read_values(file, stored, place)
            info = column_info(name, values, notes)
            columns.append(info)
            profiles[name] = profile_column(values)
            alerts += column_alerts(info, values)
            if info["kind"] != ColumnKind.CONSTANT and (twin := digests.setdefault(values.digest, name)) != name:
                alerts.append(make_alert("duplicate_column", name, f"Holds the same values as {twin!r}.", twin=twin))
    missing = sum(info["missing"] for info in columns)
    profile = {"rows": rows, "columns": profiles, "missing_share": missing / max(1, rows * len(columns))}
    return {"columns": columns, "profile": profile, "alerts": alerts}


def column_info(name: str, values: Values, notes: FileNotes) -> dict[str, Any]:
    """One entry of a dataset's `columns`.

    Keys: name; kind (changed by overrides); detected_kind; type (integer, number, boolean, datetime, text: as stored);
    distinct; missing; is_integer; classes ([{"value", "count"}] in the order of class indices, at most 100 of them,
    else absent); formats (of dates, for strptime; absent for ISO 8601).
    """
    kind = detect_kind(name, values)
    if kind != ColumnKind.CONSTANT:
        kind = _STORED_KINDS.get(notes.declared.get(name, ""), kind)
    info: dict[str, Any] = {
        "name": name,
        "kind": str(kind),
        "detected_kind": str(kind),
        "type": values.type,
        "distinct": len(values.distinct),
        "missing": values.missing,
        "is_integer": values.is_integer,
    }
    if len(values.distinct) <= MAX_CLASSES and kind not in _CLASSLESS and not values.is_sampled:
        labels = values.labels()
        if all(len(label) <= _MAX_LABEL for label in labels):
            counts = values.counts.tolist()
            info["classes"] = [{"value": label, "count": n} for label, n in zip(labels, counts, strict=True)]
    if name in notes.formats:
        info["formats"] = notes.formats[name]
    return info


def profile_column(values: Values) -> dict[str, Any]:
    """Statistics of one column, JSON-able; what can't be computed is absent."""
    result: dict[str, Any] = {
        "type": values.type,
        "missing": values.missing,
        "missing_share": values.missing / max(1, values.rows),
        "distinct": len(values.distinct),
    }
    if values.is_sampled:
        result["sampled_rows"] = len(values.codes)
    if len(values.distinct) == 0:
        return result
    if values.type in ("text", "boolean"):
        return {**result, **_top(values), **(_lengths(values) if values.type == "text" else {})}
    numbers = _numbers(values)
    if values.type == "datetime":
        moments: dict[str, Any] = {key: _moment(numbers[key]) for key in ("min", "max")}
        histogram = numbers["histogram"]
        edges = [_moment(edge) for edge in histogram["edges"]]
        return {**result, **moments, "histogram": {"edges": edges, "counts": histogram["counts"]}}
    return {**result, **_top(values), **numbers}


def _top(values: Values) -> dict[str, Any]:
    best = np.argsort(-values.counts, kind="stable")[:_TOP]
    labels = [label[:_MAX_LABEL] for label in values.labels(best)]
    counts = values.counts[best].tolist()
    return {"top": [{"value": label, "count": count} for label, count in zip(labels, counts, strict=True)]}


def _lengths(values: Values) -> dict[str, Any]:
    lengths = np.fromiter(map(len, values.distinct), dtype=np.int64, count=len(values.distinct))
    return {
        "mean_length": float(np.average(lengths, weights=values.counts)),
        "max_length": int(lengths.max()),
    }


def _numbers(values: Values) -> dict[str, Any]:
    is_finite = np.isfinite(values.distinct)
    distinct, counts = values.distinct[is_finite].astype(np.float64), values.counts[is_finite]
    infinite = int(values.counts[~is_finite].sum())
    if len(distinct) == 0:
        return {"infinite": infinite}
    cumulated = np.cumsum(counts)
    places = np.searchsorted(cumulated, np.array(_QUANTILES) * cumulated[-1])
    mean, std = _moments(distinct, counts)
    return {
        "infinite": infinite,
        "zeros": int(counts[distinct == 0].sum()),
        "min": float(distinct[0]),
        "max": float(distinct[-1]),
        "mean": mean,
        "std": std,
        "quantiles": {
            f"{q:g}": float(distinct[min(p, len(distinct) - 1)]) for q, p in zip(_QUANTILES, places, strict=True)
        },
        "histogram": _histogram(distinct, counts),
    }


def _moments(distinct: NDArray[np.float64], counts: NDArray[np.int64]) -> tuple[float | None, float | None]:
    """Mean and standard deviation; None where they overflow."""
    with np.errstate(over="ignore", invalid="ignore"):
        mean = np.average(distinct, weights=counts)
        std = np.sqrt(np.average((distinct - mean) ** 2, weights=counts))
    return (float(mean) if np.isfinite(mean) else None), (float(std) if np.isfinite(std) else None)


def _histogram(distinct: NDArray[np.float64], counts: NDArray[np.int64]) -> dict[str, Any]:
    low, high = float(distinct[0]), float(distinct[-1])
    part = np.arange(_BINS + 1) / _BINS
    edges = low * (1 - part) + high * part  # overflows nowhere
    if not (edges[1:] > edges[:-1]).all():  # one value, or values a rounding apart
        return {"edges": [low, high], "counts": [int(counts.sum())]}
    place = np.clip(np.searchsorted(edges, distinct, side="right") - 1, 0, _BINS - 1)
    return {"edges": edges.tolist(), "counts": np.bincount(place, weights=counts, minlength=_BINS).astype(int).tolist()}


def _moment(microseconds: float) -> str:
    return str(np.datetime64(int(microseconds), "us").astype("datetime64[s]"))
