"""Networks that read labelled rows one after the other, and remember: an RNN, and one with an external memory."""

from __future__ import annotations

from .base import Size
from .reading import MOST_COLUMNS, MOST_ROWS, reading_learner


def _cost(size: Size) -> float:
    """Every cell is embedded once; then rows are read in turn, and those that are asked about one by one."""
    rows, columns = min(size.rows, MOST_ROWS), min(size.columns, MOST_COLUMNS)
    return rows * (1.5e-6 * columns + 1e-4)


RNN = reading_learner("rnn", _cost)
MANN = reading_learner("mann", lambda size: 2 * _cost(size))
