"""Networks of rows that predict by likeness, in NumPy: `meta/reading/siamese.py` and `matching.py`."""

from __future__ import annotations

from typing import Any

import numpy as np

from .episode import SAID, TABLE
from .reading import Weights, gelu, linear, softmax

Array = np.ndarray[Any, Any]

READS = 3  #: of the row that is asked about


class SiameseTarget:
    """The mean of labels, near rows first."""

    def __init__(self, weights: Weights, cells: Array, rows: Array) -> None:
        self._weights, self._labels = weights, rows[:, 0]
        self._known = embed(weights, cells, rows)

    def ask(self, cells: Array, rows: Array) -> tuple[Array, Array]:
        """(N, D) and (N,); see ReadTarget."""
        asked = embed(self._weights, cells, rows)
        squares = (asked**2).sum(axis=1)[:, None] + (self._known**2).sum(axis=1) - 2 * asked @ self._known.T
        return asked, softmax(-np.exp(self._weights["sharp"]) * np.maximum(squares, 0)) @ self._labels


class MatchingTarget:
    """The mean of labels by an attention that has seen all of them."""

    def __init__(self, weights: Weights, cells: Array, rows: Array) -> None:
        self._weights, self._labels = weights, rows[:, 0]
        embedded = embed(weights, cells, rows)
        inputs = np.concatenate([embedded, rows[:, :1]], axis=1)
        ahead = _lstm(weights, inputs, "context", "_l0")
        back = _lstm(weights, inputs[::-1], "context", "_l0_reverse")[::-1]
        self._known = ahead + back + embedded
        self._directions = unit(self._known)

    def ask(self, cells: Array, rows: Array) -> tuple[Array, Array]:
        """(N, D) and (N,); see ReadTarget."""
        asked = embed(self._weights, cells, rows)
        width = asked.shape[1]
        hidden, cell = np.zeros((2, len(asked), 2 * width), dtype=np.float32)
        for _ in range(READS):
            hidden, cell = lstm_cell(self._weights, asked, hidden, cell, "reading", "")
            read = hidden[:, :width] + asked
            attention = softmax(np.exp(self._weights["sharp"]) * unit(read) @ self._directions.T)
            hidden = np.concatenate([hidden[:, :width], attention @ self._known], axis=1)
        return read, attention @ self._labels


def embed(weights: Weights, cells: Array, rows: Array) -> Array:
    """(N, D) of (N, C, CELL) and (N, ROW): `meta/reading/encoder.py`."""
    said = linear(weights, gelu(linear(weights, cells, "encoder.cell")), "encoder.column")
    share = softmax(said[..., -1])[..., None]
    both = np.concatenate([(share * said[..., :-1]).sum(axis=1), rows[:, SAID], rows[:, -TABLE:]], axis=1)
    return linear(weights, gelu(linear(weights, both, "encoder.row")), "encoder.out")


def _lstm(weights: Weights, inputs: Array, name: str, suffix: str) -> Array:
    """(S, D) hidden states of a sequence (S, inputs)."""
    width = weights[f"{name}.weight_hh{suffix}"].shape[1]
    hidden, cell = np.zeros((2, 1, width), dtype=np.float32)
    states = []
    for row in inputs:
        hidden, cell = lstm_cell(weights, row[None], hidden, cell, name, suffix)
        states.append(hidden[0])
    return np.array(states)


def lstm_cell(weights: Weights, x: Array, hidden: Array, cell: Array, name: str, suffix: str) -> tuple[Array, Array]:
    """One step, gates in the order input, forget, cell, output (Hochreiter and Schmidhuber 1997, as torch has it)."""
    gates = x @ weights[f"{name}.weight_ih{suffix}"].T + weights[f"{name}.bias_ih{suffix}"]
    gates = gates + hidden @ weights[f"{name}.weight_hh{suffix}"].T + weights[f"{name}.bias_hh{suffix}"]
    enter, forget, new, leave = np.split(gates, 4, axis=1)
    cell = sigmoid(forget) * cell + sigmoid(enter) * np.tanh(new)
    return sigmoid(leave) * np.tanh(cell), cell


def sigmoid(x: Array) -> Array:
    """Without overflow."""
    return np.asarray(0.5 * (1 + np.tanh(0.5 * x)))


def unit(x: Array) -> Array:
    """Vectors of length 1; nought stays nought."""
    return np.asarray(x / np.maximum(np.linalg.norm(x, axis=-1, keepdims=True), 1e-12))
