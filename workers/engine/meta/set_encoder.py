"""A network that reads a table's own cells: numbers of a task that no statistic was written for.

In the line of Dataset2Vec (Jomaa et al. 2021): every pair of a cell and its row's target through one network, the mean
over rows through a second, mean and maximum over columns through a third. Any number of rows and columns, in any order.
It learned on tables alone, from no trial, and is frozen: its version is in the names of its numbers, which descriptions
keep for years. Here it only answers, in NumPy.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.numpy import save_file

from .table_sample import Array

VERSION: Final = 1  #: raised with every other file of weights
PREFIX: Final = f"set{VERSION}_"
NUMBERS: Final = 16
FILE: Final = Path(__file__).with_name(f"set_encoder_{VERSION}.safetensors")  #: what the package ships

Weights = Mapping[str, NDArray[np.float32]]


class SetEncoder:
    """Frozen weights: `<layer>.weight` (out, in) and `<layer>.bias` (out,) of six layers."""

    def __init__(self, weights: Weights) -> None:
        self._weights = weights

    def encode(self, sample: Array) -> dict[str, float]:
        """Metafeatures by name, from a sample (units, rows, FEATURES)."""
        hidden = self._relu(self._relu(sample.astype(np.float32), "cell"), "row").mean(axis=1)
        units = self._relu(self._relu(hidden, "column"), "wide")
        whole = np.concatenate([units.mean(axis=0), units.max(axis=0)])
        numbers = self._layer(self._relu(whole, "task"), "out")
        return {f"{PREFIX}{place:02}": float(number) for place, number in enumerate(numbers)}

    def _relu(self, inputs: NDArray[np.float32], layer: str) -> NDArray[np.float32]:
        return np.maximum(self._layer(inputs, layer), 0)

    def _layer(self, inputs: NDArray[np.float32], layer: str) -> NDArray[np.float32]:
        return np.asarray(inputs @ self._weights[f"{layer}.weight"].T + self._weights[f"{layer}.bias"])

    def save(self, path: Path) -> None:
        """As one safetensors file."""
        about = json.dumps({"name": "set_encoder", "version": VERSION})  # one entry: several come in any order
        save_file({name: np.ascontiguousarray(self._weights[name]) for name in self._weights}, path, {"about": about})

    @classmethod
    def load(cls, path: Path) -> SetEncoder:
        """What `save` wrote."""
        with safe_open(path, framework="numpy") as file:
            return cls({name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118 - not a mapping


@lru_cache(maxsize=1)
def shipped_encoder() -> SetEncoder | None:
    """The package's own; None where it was built without."""
    return SetEncoder.load(FILE) if FILE.exists() else None


def is_set_number(name: str) -> bool:
    """Whether a metafeature is of a set encoder, of whatever version."""
    return name.startswith("set") and name[3:4].isdigit()
