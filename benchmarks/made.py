"""Tables made for timing, not for quality: a mixed signal of numbers and categories, some cells missing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd


def make_table(rows: int, columns: int, seed: int = 0) -> pd.DataFrame:
    """A binary task with target `y`: four of five feature columns are numbers, the others categories of 12 values."""
    rng = np.random.default_rng(seed)
    numbers = rng.normal(size=(rows, columns))
    signal = numbers[:, 0] + numbers[:, 1] * numbers[:, 2] + np.sin(2 * numbers[:, 3 % columns])
    frame = pd.DataFrame(numbers.round(5), columns=[f"x{i}" for i in range(columns)])
    for column in range(4, columns, 5):
        codes = rng.integers(0, 12, rows)
        signal += 0.3 * (codes % 3 - 1)
        frame[f"x{column}"] = np.array([f"level {code}" for code in range(12)])[codes]
    frame = frame.mask(rng.random(frame.shape) < 0.03)
    frame["y"] = np.where(signal + rng.normal(size=rows) > 0, "yes", "no")
    return frame


def as_rows(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """The frame as the rows of a prediction request: a missing cell is None."""
    cells = frame.astype(object)
    return [
        {str(name): cell for name, cell in row.items()} for row in cells.where(cells.notna(), None).to_dict("records")
    ]
