"""What the search needs of a metamodel. No torch here: who has an instance has imported it."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.numpy import save_file

from ..errors import MetamodelError
from ..types import Configuration
from .past import Past
from .vocabulary import Encoded, Vocabulary

if TYPE_CHECKING:
    from ..space import SearchSpace

Array = NDArray[np.float64]

_FORMAT = 1


class Prediction(NamedTuple):
    """Of log relative losses, each (n,)."""

    mean: Array
    deviation: Array


class Metamodel(ABC):
    """Learned on past tasks; reads the trials of this one; says what each configuration is worth trying."""

    name: ClassVar[str]

    def __init__(self, vocabulary: Vocabulary, weights: Mapping[str, NDArray[np.float32]]) -> None:
        self.vocabulary = vocabulary
        self.weights = weights

    @classmethod
    @abstractmethod
    def train(cls, past: Past, space: SearchSpace, *, seed: int, steps: int | None = None) -> Self:
        """On all of these tasks. The same seed gives the same weights; fewer steps are for tests."""

    @abstractmethod
    def gains(self, trials: Encoded, losses: Array, candidates: Encoded) -> Array:
        """(candidates,) how much trying each is worth, given relative losses (trials,) in order; the most is best."""

    def encode(self, configurations: Sequence[Configuration], space: SearchSpace) -> Encoded:
        """Of learners that it knows."""
        return self.vocabulary.encode(configurations, space)

    def save(self, path: Path) -> None:
        """One file of tensors, without code."""
        about = {
            "name": self.name,
            "format": _FORMAT,
            "slots": self.vocabulary.slots,
            "configurations": self.vocabulary.texts,
        }
        tensors = {name: np.ascontiguousarray(tensor) for name, tensor in self.weights.items()}
        save_file(tensors, path, {"metamodel": json.dumps(about)})  # one entry: several come in any order

    @classmethod
    def load(cls, path: Path) -> Self:
        """What `save` wrote.

        Raises:
            MetamodelError: another metamodel or another format.
        """
        with safe_open(path, "numpy") as file:
            about = json.loads((file.metadata() or {}).get("metamodel", "{}"))
            if (found := (about.get("name"), about.get("format"))) != (cls.name, _FORMAT):
                raise MetamodelError(f"{path.name} holds {found}, not {cls.name} of format {_FORMAT}.")
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
        vocabulary = Vocabulary(tuple(about["slots"]), tuple(about["configurations"]))
        return cls(vocabulary, weights)


class SurrogateModel(Metamodel):
    """One that predicts losses."""

    @abstractmethod
    def predict(self, trials: Encoded, losses: Array, candidates: Encoded) -> Prediction:
        """Of each candidate, given relative losses (trials,)."""
