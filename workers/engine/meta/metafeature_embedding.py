"""Standardised metafeatures as an embedding: auto-sklearn's way (Feurer et al. 2015), which the Siamese must beat."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.numpy import save_file

from ..catalog import EMBEDDING_ROLE
from .recorded import RecordedTask
from .set_encoder import is_set_number

Array = NDArray[np.float64]

_MOST = 64  # numbers of an embedding
_FEWEST = 0.2  # share of tasks that have a metafeature, for it to count
_CLIP = 3.0  # deviations: an outlier is far, no further


class MetafeatureEmbedding:
    """Each metafeature with mean 0 and deviation 1 over past tasks; missing ones in the middle."""

    name: ClassVar[str] = "metafeatures"
    role: ClassVar[str] = EMBEDDING_ROLE

    def __init__(self, names: Sequence[str], moments: Array) -> None:
        self.names = list(names)
        self._moments = moments  #: (metafeatures, 2): mean and deviation

    @classmethod
    def train(cls, tasks: Sequence[RecordedTask]) -> MetafeatureEmbedding:
        """On past tasks' metafeatures; how configurations rank on them is not asked."""
        metafeatures = [task.metafeatures for task in tasks]
        counts: dict[str, int] = {}
        for one in metafeatures:
            for name in one:
                counts[name] = counts.get(name, 0) + 1
        common = [name for name in sorted(counts) if counts[name] >= _FEWEST * len(metafeatures)]
        kept = [name for name in common if not name.endswith("_std") and not is_set_number(name)][:_MOST]
        values = [np.array([squashed(one[name]) for one in metafeatures if name in one]) for name in kept]
        return cls(kept, np.array([[each.mean(), each.std() + 1e-9] for each in values]))

    def embed(self, metafeatures: Mapping[str, float]) -> Array:
        """(at most 64,) of one task."""
        known = np.array([squashed(metafeatures[name]) if name in metafeatures else np.nan for name in self.names])
        standard = (known - self._moments[:, 0]) / self._moments[:, 1]
        scaled = np.clip(np.nan_to_num(standard), -_CLIP, _CLIP) / np.sqrt(len(self.names))
        return np.asarray(scaled)

    def save(self, path: Path) -> None:
        """As one safetensors file."""
        header = json.dumps({"name": self.name, "names": self.names})  # one entry: several come in any order
        save_file({"moments": self._moments}, path, {"metamodel": header})

    @classmethod
    def load(cls, path: Path) -> MetafeatureEmbedding:
        """What `save` wrote."""
        with safe_open(path, framework="numpy") as file:
            return cls(json.loads(file.metadata()["metamodel"])["names"], file.get_tensor("moments"))


def squashed(value: float) -> float:
    """Long tails shortened, sign kept."""
    return float(np.sign(value) * np.log1p(abs(value)))
