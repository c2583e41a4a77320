"""The greedy portfolio: the list whose best member is good on every past task."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_TIE = 1e-6  # of mean regret, which decides where the best so far can not get better


def greedy_portfolio(regrets: Array, size: int, weights: Array | None = None) -> list[int]:
    """Places of `size` configurations, each the one that lowers the mean regret of the best so far most.

    Args:
        regrets: (tasks, configurations), 0 the best and 1 the worst.
        size: at most as many as there are configurations.
        weights: (tasks,) of the mean, sum one; None: all alike.

    Source: greedy submodular portfolios, as in Feurer et al., "Auto-Sklearn 2.0" (2022), section 3.2.
    """
    best = np.ones(len(regrets))
    shares = np.full(len(regrets), 1 / len(regrets)) if weights is None else weights
    chosen: list[int] = []
    for _ in range(min(size, regrets.shape[1])):
        after = shares @ (np.minimum(best[:, None], regrets) + _TIE * regrets)
        after[chosen] = np.inf
        chosen.append(int(after.argmin()))
        best = np.minimum(best, regrets[:, chosen[-1]])
    return chosen
