"""The second layer: models whose rows are what the members predicted (stacking, Wolpert 1992)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

_LEAST = 1e-6  # a probability below counts as so much


def stack_columns(predictions: Sequence[Array]) -> dict[str, Array]:
    """Columns "<place>.<class>" of the members' predictions, in order of place.

    Args:
        predictions: each (n,) values, which are kept; or (n, classes) probabilities, which become their logarithms, for
            two classes the logarithm of the odds.
    """
    columns: dict[str, Array] = {}
    for place, prediction in enumerate(predictions):
        if prediction.ndim == 1:
            columns[f"{place}.0"] = prediction
            continue
        logs = np.log(np.clip(prediction, _LEAST, 1.0))
        parts = [logs[:, 1] - logs[:, 0]] if logs.shape[1] == 2 else list(logs.T)
        columns |= {f"{place}.{number}": np.ascontiguousarray(part) for number, part in enumerate(parts)}
    return columns
