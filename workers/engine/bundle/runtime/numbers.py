"""Numbers, booleans and dates as a matrix: filled, scaled, clipped, with columns that say what was missing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from .dates import DAY_S, date_features

Array = np.ndarray[Any, Any]

_LARGEST = 1e37  # well inside float32


@dataclass(frozen=True)
class NumberPart:
    """The numeric block of an encoder. k source columns: plain ones, then date features, then spans between dates."""

    plain: tuple[str, ...]
    dates: tuple[tuple[str, float, tuple[str, ...]], ...] = ()  #: (column, origin in seconds, features)
    spans: tuple[tuple[str, str], ...] = ()  #: days from the first to the second
    indicators: tuple[int, ...] = ()  #: source columns whose missingness becomes a column of its own
    clip: float = 0.0  #: in scaled units; 0: no clipping
    smooth: bool = False  #: clip by x / sqrt(1 + (x / clip)^2) instead of hard
    fill: Array | None = None  #: (k,); None: missing values stay NaN
    centre: Array | None = None  #: (k,)
    scale: Array | None = None  #: (k,), never 0
    knots: Array | None = None  #: (k, q) increasing values, for the map to a normal distribution
    heights: Array | None = None  #: (k, q) what the knots map to

    @property
    def width(self) -> int:
        """Columns that `transform` yields."""
        sources = len(self.plain) + sum(len(features) for _, _, features in self.dates) + len(self.spans)
        return sources + len(self.indicators)

    def transform(self, columns: Mapping[str, Array]) -> Array:
        """The block, float64 (n, width)."""
        return self.encode(self.matrix(columns))

    def matrix(self, columns: Mapping[str, Array]) -> Array:
        """The source columns, float64 (n, k) within float32's range, NaN missing."""
        if not self.dates:
            return _bounded(np.stack([columns[name] for name in self.plain], axis=1))
        blocks = [columns[name][:, None] for name in self.plain]
        blocks += [date_features(columns[name], origin, features) for name, origin, features in self.dates]
        blocks += [((columns[b] - columns[a]) / DAY_S)[:, None] for a, b in self.spans]
        return _bounded(np.concatenate(blocks, axis=1))

    def encode(self, matrix: Array) -> Array:
        """What `matrix` gave, encoded."""
        missing = np.isnan(matrix)
        if self.fill is not None:
            matrix = np.where(missing, self.fill, matrix)
        if self.knots is not None:
            matrix = self._to_normal(matrix)
        elif self.scale is not None:
            with np.errstate(over="ignore"):
                matrix = _bounded((matrix - self.centre) / self.scale)
            matrix = self._clipped(matrix)
        if self.indicators:
            matrix = np.concatenate([matrix, missing[:, list(self.indicators)]], axis=1)
        return matrix

    def _clipped(self, matrix: Array) -> Array:
        if not self.clip:
            return matrix
        if self.smooth:
            return matrix / np.sqrt(1.0 + (matrix / self.clip) ** 2)
        return np.clip(matrix, -self.clip, self.clip)

    def _to_normal(self, matrix: Array) -> Array:
        assert self.knots is not None
        assert self.heights is not None
        out = np.empty_like(matrix)
        for place in range(matrix.shape[1]):
            out[:, place] = np.interp(matrix[:, place], self.knots[place], self.heights[place])
        return out


def _bounded(matrix: Array) -> Array:
    return np.clip(matrix, -_LARGEST, _LARGEST)
