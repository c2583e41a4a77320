"""Networks of rows that practised on hundreds of thousands of tables what likeness means, and predict by it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .base import Size
from .reading import MOST_COLUMNS, MOST_ROWS, reading_learner


def _cost(params: Mapping[str, Any], size: Size) -> float:
    """Every cell is embedded once; then rows are compared, vectors of a fixed length."""
    rows, columns = min(size.rows, MOST_ROWS), min(size.columns, MOST_COLUMNS)
    return float(0.01 + params["views"] * rows * (1.5e-6 * columns + 4e-5 + 3e-8 * rows))


SIAMESE = reading_learner("siamese", _cost)
MATCHING = reading_learner("matching", _cost)
