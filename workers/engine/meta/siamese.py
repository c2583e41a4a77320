"""A Siamese network of tasks (Bromley et al. 1993): near in its embedding is where configurations rank alike.

Two tasks pass through the same network; it learned that the distance of what comes out follows how differently the
same configurations rank on both. It is an ensemble of small networks, whose embeddings lie side by side. Here it only
answers, in NumPy; `siamese_training` makes the weights.
"""

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
from .metafeature_embedding import squashed
from .recorded import RecordedTask

Array = NDArray[np.float64]

MEMBERS, HIDDEN, NUMBERS = 4, 32, 16  #: networks; units of each; numbers of each
_FEWEST = 0.2  # share of tasks that have a metafeature, for it to count
_CLIP = 3.0  # deviations: an outlier is far, no further


class Siamese:
    """Standardised metafeatures, those of the set encoder among them, through a layer of units and a linear one."""

    name: ClassVar[str] = "siamese"
    role: ClassVar[str] = EMBEDDING_ROLE

    def __init__(self, names: Sequence[str], weights: Mapping[str, Array]) -> None:
        """F metafeatures; `moments` (F, 2), `inner` (MEMBERS, F, HIDDEN), `bias` (MEMBERS, HIDDEN), `outer` (..)."""
        self.names = list(names)
        self._weights = weights

    @classmethod
    def train(cls, tasks: Sequence[RecordedTask], *, seed: int = 0, steps: int = 300) -> Siamese:
        """On past tasks and how configurations rank on them. The same seed gives the same weights."""
        from .siamese_training import train_members  # torch: who only embeds has no need of it

        counts: dict[str, int] = {}
        for task in tasks:
            for name in task.metafeatures:
                counts[name] = counts.get(name, 0) + 1
        names = [name for name in sorted(counts) if counts[name] >= _FEWEST * len(tasks)]
        values = np.array([_read(names, task.metafeatures) for task in tasks])
        moments = np.stack([np.nanmean(values, axis=0), np.nanstd(values, axis=0) + 1e-9], axis=1)
        return cls(names, {"moments": moments, **train_members(_standardised(values, moments), tasks, seed, steps)})

    def embed(self, metafeatures: Mapping[str, float]) -> Array:
        """(MEMBERS x NUMBERS,) of one task; what is missing lies in the middle."""
        inputs = _standardised(_read(self.names, metafeatures), self._weights["moments"])
        hidden = np.maximum(inputs @ self._weights["inner"] + self._weights["bias"], 0.0)  # (MEMBERS, HIDDEN)
        return np.asarray((hidden[:, None] @ self._weights["outer"]).ravel())

    def save(self, path: Path) -> None:
        """As one safetensors file."""
        header = json.dumps({"name": self.name, "names": self.names})  # one entry: several come in any order
        save_file(
            {key: np.ascontiguousarray(value) for key, value in self._weights.items()}, path, {"metamodel": header}
        )

    @classmethod
    def load(cls, path: Path) -> Siamese:
        """What `save` wrote."""
        with safe_open(path, framework="numpy") as file:
            names = json.loads(file.metadata()["metamodel"])["names"]
            return cls(names, {key: file.get_tensor(key) for key in file.keys()})  # noqa: SIM118 - not a mapping


def _read(names: Sequence[str], metafeatures: Mapping[str, float]) -> Array:
    return np.array([squashed(metafeatures[name]) if name in metafeatures else np.nan for name in names])


def _standardised(values: Array, moments: Array) -> Array:
    return np.clip(np.nan_to_num((values - moments[:, 0]) / moments[:, 1]), -_CLIP, _CLIP)
