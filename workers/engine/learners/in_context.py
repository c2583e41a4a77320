"""The in-context transformer: a network that has practised on tens of thousands of tables reads this one whole.

Nothing is fitted. Fitting keeps the rows, and the shipped weights say what follows from them
(`meta/reading/in_context.py`; Müller et al. 2022, Hollmann et al. 2025).
"""

from __future__ import annotations

import math

from .base import Size
from .reading import MOST_COLUMNS, MOST_ROWS, reading_learner


def _cost(size: Size) -> float:
    """Predicting is what takes time: columns are read two at a time, each row asking all others."""
    rows, tokens = min(size.rows, MOST_ROWS), 1 + math.ceil(min(size.columns, MOST_COLUMNS) / 2)
    return tokens * rows * (4e-5 + 1e-7 * rows)


LEARNER = reading_learner("in_context", _cost)
