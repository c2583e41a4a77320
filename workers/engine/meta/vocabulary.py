"""What a metamodel knows of configurations: named slots, and which of them past tasks tried."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..space import canonical
from ..types import Configuration
from .past import Past

if TYPE_CHECKING:
    from ..space import SearchSpace


class Encoded(NamedTuple):
    """Configurations as a metamodel reads them."""

    places: NDArray[np.int64]  #: (n,) among those of the past, -1 where the past has it not
    slots: NDArray[np.float32]  #: (n, slots), 0 where a configuration has none


@dataclass(frozen=True)
class Vocabulary:
    """Slots and configurations, in the order in which a metamodel learned them."""

    slots: tuple[str, ...]
    texts: tuple[str, ...]  #: canonical, of the past's configurations

    @classmethod
    def of(cls, past: Past, space: SearchSpace) -> Vocabulary:
        """Of all that these past tasks tried."""
        slots = {slot for configuration in past.configurations for slot in space.encode(configuration)}
        return cls(tuple(sorted(slots)), tuple(map(canonical, past.configurations)))

    def knows(self, configuration: Configuration) -> bool:
        """Whether its learner was there when the metamodel was trained."""
        return f"learner={configuration['learner']}" in self._columns

    def encode(self, configurations: Sequence[Configuration], space: SearchSpace) -> Encoded:
        """Slots that are not known are left out."""
        places = [self._places.get(canonical(configuration), -1) for configuration in configurations]
        slots = np.zeros((len(configurations), len(self.slots)), np.float32)
        for row, configuration in zip(slots, configurations, strict=True):
            for slot, value in space.encode(configuration).items():
                if (column := self._columns.get(slot)) is not None:
                    row[column] = value
        return Encoded(np.array(places, np.int64), slots)

    @cached_property
    def _columns(self) -> dict[str, int]:
        return {slot: column for column, slot in enumerate(self.slots)}

    @cached_property
    def _places(self) -> dict[str, int]:
        return {text: place for place, text in enumerate(self.texts)}
