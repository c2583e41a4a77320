"""Learners that adapt a small network in a few steps, in NumPy: `meta/reading/adapting.py`."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from .metric import embed, sigmoid
from .reading import Weights, linear

Array = np.ndarray[Any, Any]
#: (step, weights (P,), gradient (P,), loss) -> weights
Step = Callable[[int, Array, Array, float], Array]

SHIFT = 10.0  #: logarithms of gradients down to exp(-SHIFT)
FORGET, ENTER = 5.0, -2.0  #: gates before the first step: keep, and a rate of .1


class AdaptedTarget:
    """A small network that has taken its steps on the labelled rows."""

    def __init__(self, weights: Weights, units: int, steps: int, step: Step, cells: Array, rows: Array) -> None:
        self._weights, self._units = weights, units
        embedded, labels = embed(weights, cells, rows), rows[:, 0]
        self._small = weights["start"]
        for place in range(steps):
            gradient, loss = self._gradient(embedded, labels)
            self._small = step(place, self._small, gradient, loss)

    def ask(self, cells: Array, rows: Array) -> tuple[Array, Array]:
        """(N, H) and (N,); see ReadTarget."""
        return self._say(embed(self._weights, cells, rows))

    def _parts(self) -> tuple[Array, Array, Array, Array]:
        """V (D, H), a (H,), w (H,), b."""
        first = len(self._small) - 2 * self._units - 1
        inner, a, w, b = np.split(self._small, [first, first + self._units, first + 2 * self._units])
        return inner.reshape(-1, self._units), a, w, b

    def _say(self, embedded: Array) -> tuple[Array, Array]:
        V, a, w, b = self._parts()
        units = np.tanh(embedded @ V + a)
        return units, units @ w + b

    def _gradient(self, embedded: Array, labels: Array) -> tuple[Array, float]:
        """Of the mean squared error, and that."""
        w = self._parts()[2]
        units, said = self._say(embedded)
        error = said - labels
        slope = 2 * error / len(labels)
        inner = slope[:, None] * w * (1 - units**2)
        parts = [(embedded.T @ inner).ravel(), inner.sum(axis=0), units.T @ slope, slope.sum(keepdims=True)]
        return np.concatenate(parts), float((error**2).mean())


def gradient_steps(weights: Weights) -> Step:
    """At the rates that were learned."""
    rates = np.exp(weights["rates"])
    return lambda step, small, gradient, loss: small - rates[step] * gradient


def lstm_steps(weights: Weights) -> Step:
    """As the cell state of an LSTM."""
    shape = weights["start"].shape
    gates = {name: sigmoid(np.full(shape, bias, np.float32)) for name, bias in (("forget", FORGET), ("enter", ENTER))}

    def step(place: int, small: Array, gradient: Array, loss: float) -> Array:
        told = [*_as_two(gradient), *_as_two(np.full(shape, loss, np.float32)), small]
        for name, before in gates.items():
            gates[name] = sigmoid(linear(weights, np.stack([*told, before], axis=1), name)[:, 0])
        return np.asarray(gates["forget"] * small - gates["enter"] * gradient)

    return step


def _as_two(x: Array) -> tuple[Array, Array]:
    """Logarithm and sign, or what is near 0 as it is."""
    least = math.exp(-SHIFT)
    is_large = np.abs(x) >= least
    size = np.where(is_large, np.log(np.maximum(np.abs(x), least)) / SHIFT, -1.0)
    return size, np.where(is_large, np.sign(x), math.exp(SHIFT) * x)
