"""Learned learners of a bundle: a network that reads labelled rows, with the rows that it is to read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np

from .adapting import AdaptedTarget, Step, gradient_steps, lstm_steps
from .in_context import InContextTarget
from .metric import MatchingTarget, SiameseTarget
from .reading import ReadTable, ReadTarget, Weights
from .recurrent import MannTarget, RnnTarget
from .views import NETWORK, Views, unpack

Array = np.ndarray[Any, Any]
ReadOne = Callable[[Array, Array], ReadTarget]


def load_reader(configuration: Mapping[str, Any], tensors: Mapping[str, Array]) -> Callable[[Array], Array]:
    """The function (N, C) -> (N, K) probabilities, or (N,) values when `classes` is 0.

    Args:
        configuration: "form", a name in FORMS, "classes", "absolute", "prior", and what the form needs.
        tensors: the network's weights, and what `views.pack` made.
    """
    weights = {
        name.removeprefix(NETWORK): np.asarray(tensor, dtype=np.float32)
        for name, tensor in tensors.items()
        if name.startswith(NETWORK)
    }
    form = FORMS[configuration["form"]]

    def read(X: Array, y: Array, classes: int, noise: Array) -> ReadTable:
        return ReadTable(weights, form(weights, configuration, noise), X, y, classes)

    X, y, views = unpack({name: tensor for name, tensor in tensors.items() if not name.startswith(NETWORK)})
    return Views(
        read,
        X,
        y,
        int(configuration["classes"]),
        views,
        centres=weights.get("centres"),
        prior=None if configuration.get("prior") is None else np.array(configuration["prior"]),
        absolute=bool(configuration["absolute"]),
    ).predict


def _in_context(weights: Weights, configuration: Mapping[str, Any], noise: Array) -> ReadOne:
    return partial(InContextTarget, weights, int(configuration["heads"]), noise)


def _matching(weights: Weights, configuration: Mapping[str, Any], noise: Array) -> ReadOne:
    return partial(MatchingTarget, weights)


def _rnn(weights: Weights, configuration: Mapping[str, Any], noise: Array) -> ReadOne:
    return partial(RnnTarget, weights)


def _mann(weights: Weights, configuration: Mapping[str, Any], noise: Array) -> ReadOne:
    return partial(MannTarget, weights, int(configuration["slots"]))


def _adapting(steps: Callable[[Weights], Step], weights: Weights, configuration: Mapping[str, Any]) -> ReadOne:
    units, count = int(configuration["units"]), int(configuration["steps"])
    return lambda cells, rows: AdaptedTarget(weights, units, count, steps(weights), cells, rows)


def _maml(weights: Weights, configuration: Mapping[str, Any], noise: Array) -> ReadOne:
    return _adapting(gradient_steps, weights, configuration)


def _lstm(weights: Weights, configuration: Mapping[str, Any], noise: Array) -> ReadOne:
    return _adapting(lstm_steps, weights, configuration)


def _siamese(weights: Weights, configuration: Mapping[str, Any], noise: Array) -> ReadOne:
    return partial(SiameseTarget, weights)


FORMS: Mapping[str, Callable[[Weights, Mapping[str, Any], Array], ReadOne]] = {
    "in_context": _in_context,
    "matching": _matching,
    "siamese": _siamese,
    "rnn": _rnn,
    "mann": _mann,
    "lstm_learner": _lstm,
    "maml": _maml,
    "reptile": _maml,
}
