"""What past tasks scored: a matrix of losses, one row a task, one column a configuration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..types import Configuration

if TYPE_CHECKING:
    from ..space import SearchSpace

Array = NDArray[np.float64]

OFFSET = 0.05  #: added to relative losses before the logarithm: below, differences do not matter
WORST = 1.5  #: relative loss at most: how much worse than a constant does not matter
_FLAT = 1e-12  # range of a row in which all configurations are alike


@dataclass(frozen=True)
class Past:
    """Evaluations of the same configurations on many tasks.

    Losses are relative, so that tasks can be compared: by the loss of the best constant prediction, or error rates.
    """

    configurations: Sequence[Configuration]
    losses: Array  #: (tasks, configurations), lower is better, finite
    likeness: Array | None = None  #: (tasks,) how alike this task they seem before any trial, sum one; None: all alike
    seconds: Array | None = None  #: (tasks, configurations) that trials took there, NaN where nobody knows

    def __post_init__(self) -> None:
        if not np.isfinite(self.losses).all():
            raise ValueError("a past has no gaps")

    @cached_property
    def weights(self) -> Array:
        """(tasks,) likeness, or the same for all."""
        return np.full(len(self.losses), 1 / len(self.losses)) if self.likeness is None else self.likeness

    def within(self, space: SearchSpace) -> Past | None:
        """Only configurations that this space has; None if that leaves nothing."""
        places = [place for place, one in enumerate(self.configurations) if space.has(one)]
        if not places or not len(self.losses):
            return None
        return Past(
            [self.configurations[place] for place in places],
            self.losses[:, places],
            self.likeness,
            None if self.seconds is None else self.seconds[:, places],
        )

    @cached_property
    def regrets(self) -> Array:
        """(tasks, configurations): 0 for a task's best configuration, 1 for its worst."""
        low, high = self.losses.min(axis=1, keepdims=True), self.losses.max(axis=1, keepdims=True)
        return np.asarray((self.losses - low) / np.maximum(high - low, _FLAT))
