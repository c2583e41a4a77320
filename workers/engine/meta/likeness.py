"""From distances between tasks to how much each one counts."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_NEAR = 12  # the distance of this neighbour is what counts as near
_TWIN = 0.1  # of that distance: much nearer is the same table, a month later
_TWINS = 20.0  # what a twin counts for at most
_LEAST = 1e-3  # of the nearest one's weight: far tasks still say what works in general


def likeness_of(distances: Array) -> Array:
    """(tasks,) from ascending distances: what is as near as the twelfth counts, what is twice as far hardly.

    The same table again knows as much as a crowd of others.
    """
    if not len(distances):
        return distances
    near = max(float(distances[min(_NEAR, len(distances)) - 1]), 1e-6)
    scaled = distances / near
    twin = np.minimum((_TWIN / np.maximum(scaled, 1e-6)) ** 2, _TWINS)
    return np.asarray(np.exp(-0.5 * scaled**2) * (1 + twin) + _LEAST)
