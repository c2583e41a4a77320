"""Fits the numeric block: what fills holes, what centres and scales, which date parts vary."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import combinations, pairwise
from typing import Any

import numpy as np
from scipy.special import ndtri

from ..bundle.runtime.dates import CYCLES, PARTS, date_features
from ..bundle.runtime.numbers import NumberPart
from ..bundle.runtime.schema import Schema
from .options import EncoderOptions

Array = np.ndarray[Any, Any]

_MAX_SPANS = 10
_SAMPLE = 10_000  # rows that quantiles are taken from
_KNOTS = 256


def fit_numbers(
    options: EncoderOptions, schema: Schema, columns: Mapping[str, Array], rng: np.random.Generator
) -> tuple[NumberPart, Array] | None:
    """The block of numbers, booleans and dates, and the training rows' values in it, float64; None without any."""
    plain = tuple(field.name for field in schema.fields if field.kind in ("number", "boolean"))
    moments = [field.name for field in schema.fields if field.kind == "datetime"]
    if not plain and not moments:
        return None
    dates = tuple(_fit_date(name, columns[name], options.is_scaled) for name in moments)
    part = NumberPart(plain=plain, dates=dates, spans=_spans(moments))
    matrix = part.matrix(columns)
    part = replace(part, indicators=_indicators(options, matrix), fill=_fill(options, matrix))
    if options.scale == "quantile":
        knots, heights = _quantiles(matrix, rng)
        part = replace(part, knots=knots, heights=heights)
    elif options.is_scaled:
        centre, scale = (_robust if options.scale == "robust" else _standard)(matrix)
        part = replace(part, centre=centre, scale=scale, clip=options.clip, smooth=options.scale == "robust")
    return part, part.encode(matrix)


def _fit_date(name: str, seconds: Array, waves: bool) -> tuple[str, float, tuple[str, ...]]:
    known = seconds[~np.isnan(seconds)]
    origin = float(np.floor(np.median(known))) if len(known) else 0.0
    values = date_features(known, origin, PARTS)
    varying = [part for place, part in enumerate(PARTS) if len(known) and np.ptp(values[:, place]) > 0]
    if waves:
        varying += [f"{part}:{wave}" for part in varying if part in CYCLES for wave in ("sin", "cos")]
    return name, origin, tuple(varying or ["days"])


def _spans(moments: list[str]) -> tuple[tuple[str, str], ...]:
    pairs = list(combinations(moments, 2))
    return tuple(pairs if len(pairs) <= _MAX_SPANS else list(pairwise(moments))[:_MAX_SPANS])


def _indicators(options: EncoderOptions, matrix: Array) -> tuple[int, ...]:
    """Columns with holes, one for each distinct pattern of holes (the parts of one date share theirs)."""
    if not options.indicators or options.impute == "native":
        return ()
    missing = np.isnan(matrix)
    seen: set[bytes] = set()
    chosen = []
    for place in np.flatnonzero(missing.any(axis=0) & ~missing.all(axis=0)):
        pattern = np.packbits(missing[:, place]).tobytes()
        if pattern not in seen:
            seen.add(pattern)
            chosen.append(int(place))
    return tuple(chosen)


def _known_values(matrix: Array) -> list[Array]:
    return [column[~np.isnan(column)] for column in np.ascontiguousarray(matrix.T)]


def _fill(options: EncoderOptions, matrix: Array) -> Array | None:
    if options.impute == "native":
        return None
    centre = np.mean if options.impute == "mean" else np.median
    return np.array([float(centre(known)) if len(known) else 0.0 for known in _known_values(matrix)])


def _standard(matrix: Array) -> tuple[Array, Array]:
    known = _known_values(matrix)
    centre = np.array([float(np.mean(values)) if len(values) else 0.0 for values in known])
    scale = np.array([float(np.std(values)) if len(values) else 0.0 for values in known])
    return centre, _positive(scale, known)


def _robust(matrix: Array) -> tuple[Array, Array]:
    """Median, and quartile distance / 1.349; the standard deviation where the quartiles meet."""
    known = _known_values(matrix)
    quartiles = np.array([np.quantile(values, (0.25, 0.5, 0.75)) if len(values) else np.zeros(3) for values in known])
    scale = (quartiles[:, 2] - quartiles[:, 0]) / 1.349
    flat = scale <= 0
    scale[flat] = [float(np.std(known[place])) if len(known[place]) else 0.0 for place in np.flatnonzero(flat)]
    return quartiles[:, 1], _positive(scale, known)


def _positive(scale: Array, known: list[Array]) -> Array:
    """1 where there is nothing to scale: rounding of a constant is no spread."""
    size = np.array([float(np.abs(values).max()) if len(values) else 0.0 for values in known])
    return np.where(np.isfinite(scale) & (scale > 1e-12 * size), scale, 1.0)


def _quantiles(matrix: Array, rng: np.random.Generator) -> tuple[Array, Array]:
    """Knots and heights (k, q) of the map to a normal distribution; equal values share their mean height."""
    if len(matrix) > _SAMPLE:
        matrix = matrix[np.sort(rng.choice(len(matrix), _SAMPLE, replace=False))]
    chances = (np.arange(_KNOTS) + 0.5) / _KNOTS
    normal = ndtri(chances)
    knots, heights = np.zeros((matrix.shape[1], _KNOTS)), np.zeros((matrix.shape[1], _KNOTS))
    for place, values in enumerate(_known_values(matrix)):
        if len(values):
            unique, where = np.unique(np.quantile(values, chances), return_inverse=True)
            height = np.bincount(where, weights=normal) / np.bincount(where)
            knots[place] = np.pad(unique, (0, _KNOTS - len(unique)), mode="edge")
            heights[place] = np.pad(height, (0, _KNOTS - len(height)), mode="edge")
    return knots, heights
