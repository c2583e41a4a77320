"""Bayesian optimisation: the next configuration is where a surrogate expects to improve most."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from ..catalog import get_learner
from ..space import Space, canonical, decode, encode
from ..types import Configuration, Fidelity, Proposal, Source, Trial
from .base import SearchContext
from .surrogates import Forest, GaussianProcess, Surrogate

Array = NDArray[np.float64]

_FEWEST = 6  # trials that a surrogate can learn from
_MOST = 200  # trials that it learns from: the best half and the last half of more
_RANDOM, _PARENTS, _CHILDREN = 120, 5, 16  # candidates: random ones, and mutants of the best
_STEP = 0.15  # standard deviation of a mutated number, of its range
_MUTATED, _REDRAWN = 0.5, 0.2  # chance of a number, of a choice, to change
_PATIENCE = 100


class Model:
    """What is known of losses at full fidelity, and which configuration promises most."""

    def __init__(self, space: Space, surrogate: Surrogate, rng: np.random.Generator) -> None:
        self._space, self._surrogate, self._rng = space, surrogate, rng
        self._losses: dict[str, float] = {}
        self._configurations: dict[str, Configuration] = {}
        self._tried: set[str] = set()
        self._places: dict[str, int] = defaultdict(lambda: len(self._places))  #: slot -> column

    def tell(self, trial: Trial) -> None:
        """Take note of a loss."""
        configuration = trial.proposal.configuration
        text = canonical(configuration)
        self._tried.add(text)
        is_known = configuration["learner"] in self._space.learners
        if is_known and trial.loss is not None and trial.proposal.fidelity == Fidelity():
            self._losses[text], self._configurations[text] = trial.loss, configuration

    def propose(self, draw: Callable[[], Configuration]) -> Configuration | None:
        """The candidate with most expected improvement; None while too little is known. `draw` makes a random one."""
        if len(self._losses) < _FEWEST:
            return None
        candidates = self._candidates(draw)
        if not candidates:
            return None
        texts = self._learned_from()
        known = self._matrix([self._configurations[text] for text in texts])
        unknown = self._matrix(candidates)
        y = normal_scores(np.array([self._losses[text] for text in texts]))
        width = max(known.shape[1], unknown.shape[1])
        known, unknown = (_padded(matrix, width) for matrix in (known, unknown))
        self._surrogate.fit(known, y)
        gain = expected_improvement(*self._surrogate.predict(unknown), float(y.min()))
        return candidates[int(np.argmax(gain))]

    def _candidates(self, draw: Callable[[], Configuration]) -> list[Configuration]:
        best = sorted(self._losses, key=lambda text: (self._losses[text], text))[:_PARENTS]
        made = [draw() for _ in range(_RANDOM)]
        made += [mutated(self._configurations[text], self._rng) for text in best for _ in range(_CHILDREN)]
        fresh = {canonical(configuration): configuration for configuration in made}
        return [configuration for text, configuration in fresh.items() if text not in self._tried]

    def _learned_from(self) -> list[str]:
        texts = list(self._losses)
        if len(texts) <= _MOST:
            return texts
        best = sorted(texts, key=lambda text: (self._losses[text], text))[: _MOST // 2]
        return best + [text for text in texts[-_MOST // 2 :] if text not in set(best)]

    def _matrix(self, configurations: list[Configuration]) -> Array:
        """(n, slots): a slot that a configuration lacks is 0; choices and learners count half."""
        rows = [
            {self._places[slot]: value * (0.5 if "=" in slot else 1.0) for slot, value in encode(c).items()}
            for c in configurations
        ]
        matrix = np.zeros((len(rows), len(self._places)))
        for place, row in enumerate(rows):
            matrix[place, list(row)] = list(row.values())
        return matrix


class BayesianOptimisation:
    """Hand-written defaults, then what a Gaussian process over the space proposes; all at full fidelity."""

    surrogate: Callable[[], Surrogate] = GaussianProcess

    def __init__(self, context: SearchContext) -> None:
        self._space = context.space
        self._rng = np.random.default_rng(context.seed)
        self._model = Model(self._space, type(self).surrogate(), self._rng)
        self._first = iter(self._space.defaults())
        self._seen: set[str] = set()

    def ask(self) -> Proposal | None:
        """The next default, or the most promising configuration; None if nothing new can be found."""
        for configuration in self._unseen(self._first):
            return Proposal(configuration=configuration, source=Source.DEFAULT)
        promising = self._model.propose(self._draw)
        if promising is not None and self._is_new(promising):
            return Proposal(configuration=promising, source=Source.SURROGATE)
        for configuration in self._unseen(self._draw() for _ in range(_PATIENCE)):
            return Proposal(configuration=configuration, source=Source.RANDOM)
        return None

    def tell(self, trial: Trial) -> None:
        """Learn from it."""
        self._seen.add(canonical(trial.proposal.configuration))
        self._model.tell(trial)

    def _draw(self) -> Configuration:
        return self._space.sample(self._rng)

    def _unseen(self, configurations: Iterator[Configuration]) -> Iterator[Configuration]:
        return islice((configuration for configuration in configurations if self._is_new(configuration)), 1)

    def _is_new(self, configuration: Configuration) -> bool:
        text = canonical(configuration)
        is_new = text not in self._seen
        self._seen.add(text)
        return is_new


class ForestOptimisation(BayesianOptimisation):
    """The same with a forest, which minds neither conditions nor cliffs."""

    surrogate = Forest


def mutated(configuration: Configuration, rng: np.random.Generator) -> Configuration:
    """A neighbour in the space: some numbers moved a little, now and then a choice drawn again."""
    slots = encode(configuration)
    for slot in list(slots):
        if "=" not in slot:
            if rng.random() < _MUTATED:
                slots[slot] = float(np.clip(slots[slot] + _STEP * rng.normal(), 0.0, 1.0))
        elif not slot.startswith("learner=") and rng.random() < _REDRAWN:
            del slots[slot]
            slots |= _redrawn(configuration["learner"], slot.split("=")[0].split(".", 1)[1], rng)
    return decode(slots)


def _redrawn(learner: str, name: str, rng: np.random.Generator) -> dict[str, float]:
    choice: Any = next(hyperparameter for hyperparameter in get_learner(learner).space if hyperparameter.name == name)
    return {
        slot: 1.0 for slot in encode({"learner": learner, name: choice.sample(rng)}) if slot != f"learner={learner}"
    }


def normal_scores(losses: Array) -> Array:
    """(n,) standard normal by rank, so that outliers do not matter (Salinas et al. 2020)."""
    order = np.argsort(np.argsort(losses, kind="stable"), kind="stable")
    return np.asarray(ndtri((order + 0.5) / len(losses)))


def expected_improvement(mean: Array, std: Array, best: float) -> Array:
    """Of a loss over the best so far (Jones et al. 1998)."""
    z = (best - mean) / std
    return np.asarray(std * (z * ndtr(z) + np.exp(-0.5 * z**2) / np.sqrt(2 * np.pi)))


def _padded(matrix: Array, width: int) -> Array:
    return np.pad(matrix, ((0, 0), (0, width - matrix.shape[1])))
