"""From distances between tasks to how much each one counts."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_NEAR = 12  # the distance of this neighbour is what counts as near
_LEAST = 1e-3  # of the nearest one's weight: far tasks still say what works in general


def likeness_of(distances: Array) -> Array:
    """(tasks,) from ascending distances: what is as near as the twelfth counts, what is twice as far hardly."""
    if not len(distances):
        return distances
    near = max(float(distances[min(_NEAR, len(distances)) - 1]), 1e-6)
    return np.asarray(np.exp(-0.5 * (distances / near) ** 2) + _LEAST)
