"""Small networks that learn a table in a few steps from where practice has put them: an LSTM's, or a gradient's."""

from __future__ import annotations

from .base import Size
from .reading import MOST_COLUMNS, MOST_ROWS, reading_learner


def _cost(size: Size) -> float:
    """Every cell is embedded once; then all labelled rows take part in each step."""
    rows, columns = min(size.rows, MOST_ROWS), min(size.columns, MOST_COLUMNS)
    return rows * (1.5e-6 * columns + 5e-5)


LSTM_LEARNER = reading_learner("lstm_learner", lambda size: 2 * _cost(size))
MAML = reading_learner("maml", _cost)
REPTILE = reading_learner("reptile", _cost)
