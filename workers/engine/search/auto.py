"""The default strategy. Cold: hand-written configurations, cheap and strong first, then halving near what works."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

import numpy as np

from ..learners.base import Size
from ..space import canonical
from ..types import Configuration, Fidelity, Proposal, Source, Trial
from .base import SearchContext
from .halving import AsynchronousHalving

#: Opening order: one that is done at once, then the families that win tables, each once before any twice.
_OPENING = (
    ("linear", 0),
    ("lightgbm", 0),
    ("catboost", 0),
    ("extra_trees", 0),
    ("network", 0),
    ("lightgbm", 1),
    ("random_forest", 0),
    ("catboost", 1),
    ("svm", 0),
    ("lightgbm", 2),
    ("catboost", 2),
    ("linear", 1),
    ("network", 1),
    ("extra_trees", 1),
    ("lightgbm", 3),
    ("elastic_net", 0),
    ("catboost", 3),
    ("nearest_neighbours", 0),
    ("discriminant", 0),
    ("random_forest", 1),
    ("svm", 1),
    ("naive_bayes", 0),
    ("discriminant", 1),
    ("elastic_net", 1),
    ("nearest_neighbours", 1),
)
_SHARE = 0.3  # of the budget that one opening configuration may be predicted to take
_COLUMNS_PER_FEATURE = 2  # encoded columns a feature, for predictions of cost before anything is encoded


class Auto:
    """Opening book at full fidelity, what can't finish left out; then halving, learners drawn by how well they did."""

    def __init__(self, context: SearchContext) -> None:
        self._context = context
        self._rng = np.random.default_rng(context.seed + 1)
        self._halving = AsynchronousHalving(context)
        self._best: dict[str, float] = defaultdict(lambda: float("inf"))  #: full-fidelity loss by learner
        self._told: set[str] = set()
        self._opening = iter(self._order())

    def ask(self) -> Proposal | None:
        """The next of the opening that nobody has told of, then a promotion or a newcomer."""
        for configuration in self._opening:
            if canonical(configuration) not in self._told:
                return Proposal(configuration=configuration, source=Source.DEFAULT)
        promotion = self._halving.promotion()
        return promotion if promotion is not None else self._newcomer()

    def tell(self, trial: Trial) -> None:
        """Learn which learners do well here."""
        configuration = trial.proposal.configuration
        self._told.add(canonical(configuration))
        self._halving.tell(trial)
        if trial.loss is not None and trial.proposal.fidelity == Fidelity():
            name = configuration["learner"]
            self._best[name] = min(self._best[name], trial.loss)

    def _order(self) -> Iterator[Configuration]:
        """The opening, then defaults of learners that it does not know."""
        space = self._context.space
        known = set()
        for name, place in _OPENING:
            if name in space.learners and place < len(space.learners[name].defaults):
                configuration = space.complete(name, space.learners[name].defaults[place])
                known.add(canonical(configuration))
                if self._affordable(configuration):
                    yield configuration
        for configuration in space.defaults():
            if canonical(configuration) not in known and self._affordable(configuration):
                yield configuration

    def _newcomer(self) -> Proposal | None:
        for _ in range(20):
            proposal = self._halving.newcomer(self._draw())
            if proposal is not None and self._affordable(proposal.configuration):
                return proposal
        return self._halving.newcomer(None)

    def _draw(self) -> str:
        """A learner: half of the time any, else the better its best loss ranks the likelier."""
        names = [name for name in self._context.space.learners if name != "dummy"] or ["dummy"]
        if self._rng.random() < 0.25 or not self._best:
            return names[int(self._rng.integers(len(names)))]
        ranked = sorted(names, key=lambda name: (self._best[name], name))
        weights = 0.6 ** np.arange(len(ranked))
        return str(self._rng.choice(ranked, p=weights / weights.sum()))

    def _affordable(self, configuration: Configuration) -> bool:
        seconds = self._context.seconds
        return seconds is None or self._cost(configuration) <= _SHARE * seconds

    def _cost(self, configuration: Configuration) -> float:
        """Predicted seconds of the full evaluation."""
        size = self._context.size
        encoded = Size(rows=size.rows, columns=_COLUMNS_PER_FEATURE * size.columns, classes=size.classes)
        return self._context.n_folds * self._context.space.cost(configuration, encoded)
