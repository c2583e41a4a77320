"""Neighbours of a configuration in the space."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from ..types import Configuration
from .hyperparameters import Choice, Hyperparameter, is_active

_STEP = 0.15  # standard deviation of a moved number, of its range
_MOVED, _REDRAWN = 0.5, 0.2  # chance of a number, of a choice, to change


def mutated(
    hyperparameters: Iterable[Hyperparameter], configuration: Configuration, rng: np.random.Generator
) -> Configuration:
    """Some numbers moved a little, now and then a choice drawn again; what that makes active gets its default."""
    child: dict[str, Any] = {"learner": configuration["learner"]}
    for hyperparameter in hyperparameters:
        if is_active(hyperparameter, child):
            value = configuration.get(hyperparameter.name, hyperparameter.default)
            child[hyperparameter.name] = _moved(hyperparameter, value, rng)
    return child


def _moved(hyperparameter: Hyperparameter, value: Any, rng: np.random.Generator) -> Any:
    if isinstance(hyperparameter, Choice):
        return hyperparameter.sample(rng) if rng.random() < _REDRAWN else value
    if rng.random() < _MOVED:
        return hyperparameter.from_unit(hyperparameter.to_unit(value) + _STEP * float(rng.normal()))
    return value
