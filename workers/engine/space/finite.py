"""What strategies need of a space; and a space that is a list, as of a published table."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..types import Configuration
from .space import canonical

if TYPE_CHECKING:
    from ..learners.base import Size

_LOG_RATIO = 10.0  # from which positive numbers are on a log scale
_NEAR = 8  # neighbours of a configuration


class SearchSpace(Protocol):
    """A configuration space as strategies see it. Configurations are dictionaries with a "learner"."""

    @property
    def learners(self) -> Mapping[str, Any]:
        """By name."""
        ...

    def sample(self, rng: np.random.Generator, learner: str | None = None) -> Configuration:
        """A random configuration, of a random learner if none is named."""
        ...

    def defaults(self) -> list[Configuration]:
        """Hand-written configurations, best first; there may be none."""
        ...

    def defaults_by_learner(self) -> dict[str, list[Configuration]]:
        """The same for each learner."""
        ...

    def mutated(self, configuration: Configuration, rng: np.random.Generator) -> Configuration:
        """A neighbour."""
        ...

    def cost(self, configuration: Configuration, size: Size) -> float:
        """Predicted seconds to fit it once, on one thread."""
        ...

    def encode(self, configuration: Configuration) -> dict[str, float]:
        """Named slots, each 0 to 1."""
        ...

    def has(self, configuration: Configuration) -> bool:
        """Whether it is a point of this space."""
        ...


class FiniteSpace:
    """A list of configurations, in an order that means nothing.

    Args:
        configurations: distinct; numbers of one name in one learner share a scale, everything else is a choice.
    """

    def __init__(self, configurations: Sequence[Configuration]) -> None:
        self.configurations = list(configurations)
        self.learners: dict[str, list[Configuration]] = {}
        for configuration in configurations:
            self.learners.setdefault(configuration["learner"], []).append(configuration)
        self._scales = _scales(self.learners)
        self._slots = {canonical(configuration): self.encode(configuration) for configuration in configurations}

    def sample(self, rng: np.random.Generator, learner: str | None = None) -> Configuration:
        """One of the list."""
        among = self.configurations if learner is None else self.learners[learner]
        return among[int(rng.integers(len(among)))]

    def defaults(self) -> list[Configuration]:
        """None."""
        return []

    def defaults_by_learner(self) -> dict[str, list[Configuration]]:
        """None."""
        return {}

    def cost(self, configuration: Configuration, size: Size) -> float:
        """The same for all: nothing is known."""
        return 1.0

    def mutated(self, configuration: Configuration, rng: np.random.Generator) -> Configuration:
        """One of those whose slots differ least, of the same learner if it has so many."""
        own = self._slots[canonical(configuration)]
        others = [other for other in self.configurations if other != configuration] or [configuration]
        name = configuration["learner"]
        others.sort(key=lambda other: (other["learner"] != name, _distance(own, self._slots[canonical(other)])))
        return others[int(rng.integers(min(_NEAR, len(others))))]

    def has(self, configuration: Configuration) -> bool:
        """Whether it is in the list."""
        return canonical(configuration) in self._slots

    def encode(self, configuration: Configuration) -> dict[str, float]:
        """As `Space.encode`, with scales that span the list."""
        name = configuration["learner"]
        slots = {f"learner={name}": 1.0}
        for key, value in configuration.items():
            if key == "learner":
                continue
            if (scale := self._scales.get((name, key))) is not None:
                slots[f"{name}.{key}"] = scale(value)
            else:
                slots[f"{name}.{key}={json.dumps(value)}"] = 1.0
        return slots


class _Scale:
    """Numbers to 0..1, on a log scale if they are positive and span an order of magnitude."""

    def __init__(self, values: NDArray[np.float64]) -> None:
        self.is_log = bool(values.min() > 0 and values.max() / values.min() >= _LOG_RATIO)
        self.low, self.high = (self._scaled(float(edge)) for edge in (values.min(), values.max()))

    def __call__(self, value: float) -> float:
        return 0.5 if self.high == self.low else (self._scaled(value) - self.low) / (self.high - self.low)

    def _scaled(self, value: float) -> float:
        return float(np.log(value)) if self.is_log else float(value)


def _scales(learners: Mapping[str, Sequence[Configuration]]) -> dict[tuple[str, str], _Scale]:
    scales = {}
    for name, configurations in learners.items():
        for key in {key for configuration in configurations for key in configuration if key != "learner"}:
            values = [configuration[key] for configuration in configurations if key in configuration]
            if all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
                scales[name, key] = _Scale(np.array(values, dtype=np.float64))
    return scales


def _distance(one: Mapping[str, float], other: Mapping[str, float]) -> float:
    return sum((one.get(slot, 0.0) - other.get(slot, 0.0)) ** 2 for slot in one.keys() | other.keys())
