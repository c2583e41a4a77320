"""The in-context transformer in NumPy: `meta/reading/in_context.py`, whose letters for shapes these are."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .episode import RULES, SAID
from .reading import Weights, gelu, linear, softmax

Array = np.ndarray[Any, Any]

_EPSILON = 1e-5
_SCORES = 4_000_000  # of attention, at once


class InContextTarget:
    """What labelled rows say to rows that ask.

    Args:
        weights: of the network.
        heads: of each attention.
        noise: (T, PLACES) random numbers that tell tokens apart.
        cells: (S, C, CELL).
        rows: (S, ROW).
    """

    def __init__(self, weights: Weights, heads: int, noise: Array, cells: Array, rows: Array) -> None:
        self._weights, self._heads = weights, heads
        self._places = linear(weights, noise.astype(np.float32), "place")
        self._blocks = 1 + max(int(name.split(".")[1]) for name in weights if name.startswith("blocks."))
        self._memories: list[tuple[Array, Array]] = []  #: keys and values (T + 1, S, D) of each block
        self._run(self._tokens(cells, rows), is_labelled=True)

    def ask(self, cells: Array, rows: Array) -> tuple[Array, Array]:
        """(N, D) and the mean that is expected (N,), of (N, C, CELL) and (N, ROW)."""
        x = self._run(self._tokens(cells, rows), is_labelled=False)
        asked = self._normed(x[:, -1], "norm")
        trust = linear(self._weights, asked, "trust")
        return asked, (trust[:, :RULES] * rows[:, SAID]).sum(axis=1) + trust[:, RULES]

    def _tokens(self, cells: Array, rows: Array) -> Array:
        """(N, T + 1, D)."""
        count, columns, numbers = cells.shape
        tokens = len(self._places)
        group = self._weights["cell.weight"].shape[1] // (numbers + 1)
        padded = np.zeros((count, tokens * group, numbers + 1), dtype=np.float32)
        padded[:, :columns, :numbers], padded[:, :columns, numbers] = cells, 1
        x = linear(self._weights, padded.reshape(count, tokens, -1), "cell") + self._places
        return np.concatenate([x, linear(self._weights, rows, "row")[:, None]], axis=1)

    def _run(self, x: Array, *, is_labelled: bool) -> Array:
        """(N, T + 1, D) through all blocks to (N, 1, D) of labels; labelled rows leave what others hear."""
        for place in range(self._blocks):
            block = f"blocks.{place}."
            normed = self._normed(x, block + "first")
            keys = self._keys(normed, block + "along_row")
            if place + 1 == self._blocks:
                x, normed = x[:, -1:], normed[:, -1:]
            x = x + self._attend(normed, *keys, block + "along_row")
            normed = self._normed(x, block + "second").transpose(1, 0, 2)  # (T + 1, N, D)
            if is_labelled:
                self._memories.append(self._keys(normed, block + "along_column"))
            x = x + self._attend(normed, *self._memories[place], block + "along_column").transpose(1, 0, 2)
            wide = linear(self._weights, self._normed(x, block + "third"), block + "wide")
            x = x + linear(self._weights, gelu(wide), block + "narrow")
        return x

    def _keys(self, context: Array, name: str) -> tuple[Array, Array]:
        """Keys and values, each (B, M, D)."""
        keys, values = np.split(context @ self._weights[f"{name}.memory.weight"].T, 2, axis=-1)
        return keys, values

    def _attend(self, x: Array, keys: Array, values: Array, name: str) -> Array:
        """(B, N, D) that ask (B, M, D)."""
        query = x @ self._weights[f"{name}.query.weight"].T / np.float32(math.sqrt(x.shape[2] // self._heads))
        heard = np.empty_like(query)
        step = max(1, _SCORES // (len(x) * keys.shape[1]))
        for start in range(0, x.shape[1], step):
            asking = slice(start, start + step)
            for head in np.split(np.arange(x.shape[2]), self._heads):
                part = slice(head[0], head[-1] + 1)
                scores = query[:, asking, part] @ keys[:, :, part].transpose(0, 2, 1)
                heard[:, asking, part] = softmax(scores) @ values[:, :, part]
        return np.asarray(heard @ self._weights[f"{name}.out.weight"].T)

    def _normed(self, x: Array, name: str) -> Array:
        centred = x - x.mean(axis=-1, keepdims=True)
        scaled = centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + _EPSILON)
        return np.asarray(scaled * self._weights[f"{name}.weight"] + self._weights[f"{name}.bias"])
