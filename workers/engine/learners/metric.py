"""Networks of rows that practised on tens of thousands of tables what likeness means, and predict by it."""

from __future__ import annotations

from .base import Size
from .reading import MOST_COLUMNS, MOST_ROWS, reading_learner


def _cost(size: Size) -> float:
    """Every cell is embedded once; then rows are compared, vectors of a fixed length."""
    rows, columns = min(size.rows, MOST_ROWS), min(size.columns, MOST_COLUMNS)
    return rows * (1.5e-6 * columns + 4e-5 + 3e-8 * rows)


SIAMESE = reading_learner("siamese", _cost)
MATCHING = reading_learner("matching", _cost)
