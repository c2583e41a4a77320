"""The in-context transformer's forward pass in NumPy, float32: no torch is needed to predict.

The same letters for shapes as `meta/in_context_network.py`, without B: one task at a time. What labelled rows say of
themselves is the same whatever is asked, so it is worked out once; then the rows that are asked about hear it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from scipy.special import erf

Array = np.ndarray[Any, Any]

_CLIP, _LEAST, _EPSILON = 6.0, 1e-5, 1e-5
_ASKED = 512  # rows at once


class InContextTask:
    """A task that has been read.

    Args:
        weights: of the network, float32.
        heads: of each attention.
        X: (S, C) of the labelled rows.
        y: (S,) labels, or values with mean 0 and deviation 1.
        classes: of the labels; 0: values.
        places: (T, P) random numbers that tell tokens apart.
    """

    def __init__(
        self, weights: Mapping[str, Array], heads: int, X: Array, y: Array, classes: int, places: Array
    ) -> None:
        self._weights, self._heads, self._classes = weights, heads, classes
        self._mean, deviation = X.mean(axis=0), X.std(axis=0)
        self._scale = np.where(deviation > _LEAST, 1 / np.maximum(deviation, _LEAST), 0.0)
        self._places = self._linear(places.astype(np.float32), "place")
        self._blocks = 1 + max(int(name.split(".")[1]) for name in weights if name.startswith("blocks."))
        label = weights["label.weight"][y] if classes else self._linear(np.clip(y, -_CLIP, _CLIP)[:, None], "value")
        self._memories: list[tuple[Array, Array]] = []  #: keys and values (T + 1, S, D) of each block
        self._run(np.concatenate([self._cells(X), label[:, None]], axis=1), is_labelled=True)

    def predict(self, X: Array) -> Array:
        """(N, classes) probabilities, or (N, BUCKETS) of a standard normal target's buckets."""
        return np.concatenate([self._answer(X[start : start + _ASKED]) for start in range(0, len(X), _ASKED)])

    def _answer(self, X: Array) -> Array:
        unknown = np.broadcast_to(self._weights["unknown"], (len(X), 1, len(self._weights["unknown"])))
        x = self._run(np.concatenate([self._cells(X), unknown], axis=1), is_labelled=False)
        asked = self._normed(x[:, -1], "norm")
        logits = self._linear(asked, "classes")[:, : self._classes] if self._classes else self._linear(asked, "buckets")
        return _softmax(logits)

    def _cells(self, X: Array) -> Array:
        """(N, T, D)."""
        tokens = len(self._places)
        group = self._weights["cell.weight"].shape[1] // 2
        scaled = np.clip((X - self._mean) * self._scale, -_CLIP, _CLIP)
        cells, there = np.zeros((2, len(X), tokens * group), dtype=np.float32)
        cells[:, : X.shape[1]], there[:, : X.shape[1]] = scaled, 1
        both = np.concatenate([part.reshape(len(X), tokens, group) for part in (cells, there)], axis=2)
        return self._linear(both, "cell") + self._places

    def _run(self, x: Array, *, is_labelled: bool) -> Array:
        """(N, T + 1, D) through all blocks; labelled rows leave what others hear."""
        for place in range(self._blocks):
            block = f"blocks.{place}."
            normed = self._normed(x, block + "first")
            x = x + self._attend(normed, *self._keys(normed, block + "along_row"), block + "along_row")
            normed = self._normed(x, block + "second").transpose(1, 0, 2)  # (T + 1, N, D)
            if is_labelled:
                self._memories.append(self._keys(normed, block + "along_column"))
            x = x + self._attend(normed, *self._memories[place], block + "along_column").transpose(1, 0, 2)
            wide = self._linear(self._normed(x, block + "third"), block + "wide")
            x = x + self._linear(wide * 0.5 * (1 + erf(wide / math.sqrt(2))), block + "narrow")
        return x

    def _keys(self, context: Array, name: str) -> tuple[Array, Array]:
        """Keys and values, each (B, M, D)."""
        keys, values = np.split(context @ self._weights[f"{name}.memory.weight"].T, 2, axis=-1)
        return keys, values

    def _attend(self, x: Array, keys: Array, values: Array, name: str) -> Array:
        """(B, N, D) that ask (B, M, D)."""
        query = x @ self._weights[f"{name}.query.weight"].T
        heard = [
            _softmax(q @ k.transpose(0, 2, 1) / math.sqrt(q.shape[2])) @ v
            for q, k, v in zip(*(self._by_head(each) for each in (query, keys, values)), strict=True)
        ]
        return np.asarray(np.concatenate(heard, axis=2) @ self._weights[f"{name}.out.weight"].T)

    def _by_head(self, x: Array) -> Iterator[Array]:
        yield from np.split(x, self._heads, axis=2)

    def _linear(self, x: Array, name: str) -> Array:
        return np.asarray(x @ self._weights[f"{name}.weight"].T + self._weights[f"{name}.bias"])

    def _normed(self, x: Array, name: str) -> Array:
        centred = x - x.mean(axis=-1, keepdims=True)
        scaled = centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + _EPSILON)
        return np.asarray(scaled * self._weights[f"{name}.weight"] + self._weights[f"{name}.bias"])


def _softmax(logits: Array) -> Array:
    shifted = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=-1, keepdims=True))
