"""Hyperparameters: what may vary, over which range, and under which condition."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import SpaceError
from ..types import TaskKind

#: (name of another hyperparameter, its values under which this one exists)
Condition = tuple[str, tuple[Any, ...]]


@dataclass(frozen=True, kw_only=True)
class Float:
    """A real number in [low, high]; on a log scale if `log`."""

    name: str
    low: float
    high: float
    default: float
    log: bool = False
    when: Condition | None = None
    kinds: tuple[TaskKind, ...] = tuple(TaskKind)  #: of tasks that have it

    def sample(self, rng: np.random.Generator) -> float:
        """Uniform on its scale, rounded to six significant digits so that its JSON is short and exact."""
        return self.from_unit(float(rng.random()))

    def check(self, value: Any) -> Any:
        """The value if it is one of ours.

        Raises:
            SpaceError: it is not.
        """
        if isinstance(value, bool) or not isinstance(value, int | float) or not self.low <= value <= self.high:
            raise SpaceError(f"{self.name} must be a number from {self.low} to {self.high}, not {value!r}.")
        return float(value)

    def to_unit(self, value: float) -> float:
        """Its place on its scale, 0 to 1."""
        low, high, at = (math.log(v) if self.log else v for v in (self.low, self.high, value))
        return 0.0 if high == low else (at - low) / (high - low)

    def from_unit(self, unit: float) -> float:
        """The value at this place of its scale."""
        low, high = (math.log(v) if self.log else v for v in (self.low, self.high))
        value = low + min(max(unit, 0.0), 1.0) * (high - low)
        return min(max(float(f"{math.exp(value) if self.log else value:.6g}"), self.low), self.high)


@dataclass(frozen=True, kw_only=True)
class Int:
    """A whole number in [low, high]; on a log scale if `log`."""

    name: str
    low: int
    high: int
    default: int
    log: bool = False
    when: Condition | None = None
    kinds: tuple[TaskKind, ...] = tuple(TaskKind)  #: of tasks that have it

    def sample(self, rng: np.random.Generator) -> int:
        """Uniform on its scale."""
        return self.from_unit(float(rng.random()))

    def check(self, value: Any) -> Any:
        """The value if it is one of ours.

        Raises:
            SpaceError: it is not.
        """
        if isinstance(value, bool) or not isinstance(value, int) or not self.low <= value <= self.high:
            raise SpaceError(f"{self.name} must be a whole number from {self.low} to {self.high}, not {value!r}.")
        return value

    def to_unit(self, value: float) -> float:
        """The middle of its cell on its scale, 0 to 1."""
        low, high, at = self._scaled(self.low - 0.5), self._scaled(self.high + 0.5), self._scaled(value)
        return (at - low) / (high - low)

    def from_unit(self, unit: float) -> int:
        """The value whose cell holds this place of its scale."""
        low, high = self._scaled(self.low - 0.5), self._scaled(self.high + 0.5)
        at = low + min(max(unit, 0.0), 1.0) * (high - low)
        value = math.exp(at) if self.log else at
        return min(max(round(value), self.low), self.high)

    def _scaled(self, value: float) -> float:
        return math.log(max(value, 0.5)) if self.log else value


@dataclass(frozen=True, kw_only=True)
class Choice:
    """One of a few JSON-able options, in no order."""

    name: str
    options: tuple[Any, ...]
    default: Any
    when: Condition | None = None
    kinds: tuple[TaskKind, ...] = tuple(TaskKind)  #: of tasks that have it

    def sample(self, rng: np.random.Generator) -> Any:
        """Each option is as likely as another."""
        return self.options[int(rng.integers(len(self.options)))]

    def check(self, value: Any) -> Any:
        """The option itself.

        Raises:
            SpaceError: not one of the options.
        """
        for option in self.options:
            if option == value and type(option) is type(value):
                return option
        raise SpaceError(f"{self.name} must be one of {', '.join(map(repr, self.options))}, not {value!r}.")


Hyperparameter = Float | Int | Choice


def is_active(hyperparameter: Hyperparameter, configuration: dict[str, Any]) -> bool:
    """Whether its condition holds. Conditions look only at hyperparameters declared before it."""
    if hyperparameter.when is None:
        return True
    name, values = hyperparameter.when
    return name in configuration and configuration[name] in values
