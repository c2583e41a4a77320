"""What is made of an encoder's columns: the relevant ones, products of pairs beside them, or principal components."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

_MOST = 10.0  # deviations from its mean that a product may be


@dataclass(frozen=True)
class DerivedPart:
    """The last step of an encoder: columns in, columns out. Arrays that are None leave their step out."""

    kept: Array | None = None  #: (k,) places of the columns that stay
    pairs: Array | None = None  #: (p, 2) places of columns whose products are added
    mean: Array | None = None  #: (p,) of the products
    scale: Array | None = None  #: (p,), never 0
    centre: Array | None = None  #: (columns,)
    axes: Array | None = None  #: (columns, d) principal axes

    def transform(self, matrix: Array) -> Array:
        """Float32 (n, columns out) of an encoder's (n, columns)."""
        out = matrix if self.kept is None else matrix[:, self.kept]
        if self.pairs is not None:
            products = (self.products(matrix) - self.mean) / self.scale
            out = np.concatenate([out, np.clip(products, -_MOST, _MOST)], axis=1)
        if self.axes is not None:
            out = (out - self.centre) @ self.axes
        return np.asarray(out, dtype=np.float32)

    def products(self, matrix: Array) -> Array:
        """(n, p) float64, as they are."""
        assert self.pairs is not None
        left, right = self.pairs.T
        return matrix[:, left].astype(np.float64) * matrix[:, right]
