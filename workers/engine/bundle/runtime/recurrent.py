"""Learners that read rows one after the other, in NumPy: `meta/reading/rnn.py` and `mann.py`."""

from __future__ import annotations

from typing import Any

import numpy as np

from .metric import embed, lstm_cell, sigmoid, unit
from .reading import Weights, linear, softmax

Array = np.ndarray[Any, Any]

FADE = 0.95  #: of use, a step


class RnnTarget:
    """The state of an LSTM after the labelled rows."""

    def __init__(self, weights: Weights, cells: Array, rows: Array) -> None:
        self._weights = weights
        hidden, cell = np.zeros((2, 1, weights["memory.weight_hh_l0"].shape[1]), dtype=np.float32)
        for row in self._inputs(cells, rows):
            hidden, cell = lstm_cell(weights, row[None], hidden, cell, "memory", "_l0")
        self._state = hidden, cell

    def ask(self, cells: Array, rows: Array) -> tuple[Array, Array]:
        """(N, H) and (N,); see ReadTarget."""
        hidden, cell = (np.repeat(part, len(rows), axis=0) for part in self._state)
        read, _ = lstm_cell(self._weights, self._inputs(cells, rows), hidden, cell, "memory", "_l0")
        return read, linear(self._weights, read, "mean")[:, 0]

    def _inputs(self, cells: Array, rows: Array) -> Array:
        return np.concatenate([embed(self._weights, cells, rows), rows[:, :2]], axis=1)


class MannTarget:
    """An external memory that the labelled rows were written into."""

    def __init__(self, weights: Weights, slots: int, cells: Array, rows: Array) -> None:
        self._weights = weights
        embedded = embed(weights, cells, rows)
        width = embedded.shape[1]
        self._addresses, self._contents = np.zeros((2, slots, width), dtype=np.float32)
        self._state: tuple[Array, Array] = (np.zeros((1, width), np.float32), np.zeros((1, width), np.float32))
        used = -1e-3 * np.arange(slots, dtype=np.float32)
        for row, key, label in zip(embedded, linear(weights, embedded, "address"), rows[:, :1], strict=True):
            used = self._write(row, key, label, used)

    def ask(self, cells: Array, rows: Array) -> tuple[Array, Array]:
        """(N, 2 D) and (N,); see ReadTarget."""
        asked = embed(self._weights, cells, rows)
        found = self._reads(linear(self._weights, asked, "address")) @ self._contents
        inputs = np.concatenate([asked, found, np.zeros((len(asked), 1), dtype=np.float32)], axis=1)
        hidden, cell = (np.repeat(part, len(asked), axis=0) for part in self._state)
        out, _ = lstm_cell(self._weights, inputs, hidden, cell, "controller", "")
        read = np.concatenate([out, found], axis=1)
        return read, linear(self._weights, read, "mean")[:, 0]

    def _write(self, row: Array, key: Array, label: Array, used: Array) -> Array:
        """One labelled row; how much each slot has been used after it."""
        reads = self._reads(key[None])[0]  # (M,)
        inputs = np.concatenate([row, reads @ self._contents, label])[None]
        self._state = lstm_cell(self._weights, inputs, *self._state, "controller", "")
        hidden = self._state[0]
        least = np.zeros(len(used), dtype=np.float32)
        least[used.argmin()] = 1
        gate = sigmoid(linear(self._weights, hidden, "gate"))[0]
        writes = gate * reads + (1 - gate) * least
        kept = (1 - least)[:, None]
        self._addresses = self._addresses * kept + writes[:, None] * key
        self._contents = self._contents * kept + writes[:, None] * linear(self._weights, hidden, "content")
        return np.asarray(FADE * used + reads + writes)

    def _reads(self, keys: Array) -> Array:
        """(N, M)."""
        return softmax(np.exp(self._weights["sharp"]) * unit(keys) @ unit(self._addresses).T)
