"""The default strategy. Cold: hand-written configurations, cheap and strong first, then halving near what works.

Warm: what past tasks say of this one decides what comes next, gain against seconds; every second proposal is cold all
the same: what is strong everywhere comes early, and bad knowledge costs little. Where the past promises nothing more,
the search goes on as a cold one.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

import numpy as np

from ..space import canonical
from ..types import Configuration, Fidelity, Proposal, Source, Trial
from .base import SearchContext
from .costs import CostModel
from .halving import AsynchronousHalving
from .transfer import Advice

#: Opening order: one that is done at once, then the families that win tables, and cheap ones of other kinds, which
#: give an ensemble what it lacks; second configurations later.
_OPENING = (
    ("linear", 0),
    ("maml", 0),
    ("lightgbm", 0),
    ("catboost", 0),
    ("tabicl", 0),  # where an operator has installed it; so is the next
    ("tabpfn", 0),
    ("in_context", 0),
    ("svm", 0),
    ("catboost", 5),
    ("lightgbm", 5),
    ("network", 0),
    ("discriminant", 0),
    ("linear", 2),
    ("elastic_net", 0),
    ("catboost", 1),
    ("extra_trees", 0),
    ("matching", 0),
    ("lightgbm", 3),
    ("linear", 1),
    ("naive_bayes", 0),
    ("rnn", 0),
    ("nearest_neighbours", 0),
    ("lightgbm", 2),
    ("random_forest", 0),
    ("lightgbm", 1),
    ("network", 1),
    ("svm", 1),
    ("svm", 2),
    ("catboost", 2),
    ("discriminant", 1),
    ("elastic_net", 1),
    ("extra_trees", 1),
    ("nearest_neighbours", 1),
    ("random_forest", 1),
    ("catboost", 3),
)
#: What stands in for a configuration of the opening that would take too long: the same family, much quicker.
_INSTEAD = {("lightgbm", 0): ("lightgbm", 4), ("catboost", 0): ("catboost", 4)}
#: For targets with a long tail only: there, blended with the plain ones, they lower RMSE by 2 % in the mean.
_FOR_SKEWED = {("catboost", 5), ("lightgbm", 5)}
_SHARE = 0.3  # of the budget that one trial may be predicted to take
_SEARCH_SHARE = 0.8  # of the budget that is for trials
_LEAST_SHARE = 0.05  # of the budget that is always thought to be left: it may have been extended
_PATIENCE = 20  # random configurations looked at for one that can finish
_ANY_LEARNER = 0.25  # share of random configurations drawn without regard to how learners did
_RANK_DECAY = 0.6  # the second best learner is drawn so much less often than the best, and so on
_COLD_EVERY = 2  # proposals of a warm search, one is cold
_LEAST_GAIN = 0.002  # of a task's range of losses: where the past promises less, it has nothing more to say
_OVERHEAD = 0.8  # of the mean of predicted seconds, added to each: else whatever takes no time comes first


class Auto:
    """Opening book at full fidelity, what can't finish left out; then halving, learners drawn by how well they did."""

    def __init__(self, context: SearchContext) -> None:
        self._context = context
        self._rng = np.random.default_rng(context.seed + 1)
        self._halving = AsynchronousHalving(context)
        self._best: dict[str, float] = defaultdict(lambda: float("inf"))  #: full-fidelity loss by learner
        self._begun: set[str] = set()  #: configurations asked for at full fidelity, or told of
        self._spent_s = 0.0
        self._costs = CostModel(context)
        self._opening = self._order()
        past = None if context.past is None else context.past.within(context.space)
        self._advice = None if past is None else Advice(context)
        self._asked = 0

    def ask(self) -> Proposal | None:
        """What the past advises, or the next of the opening that nobody has told of, a promotion or a newcomer."""
        self._asked += 1
        advised = None if self._asked % _COLD_EVERY == 0 else self._advised()
        proposal = advised or self._cold()
        if proposal is not None and proposal.fidelity == Fidelity():
            self._begun.add(canonical(proposal.configuration))
        return proposal

    def tell(self, trial: Trial) -> None:
        """Learn which learners do well here, and what they cost."""
        configuration = trial.proposal.configuration
        self._begun.add(canonical(configuration))
        self._halving.tell(trial)
        self._spent_s += trial.seconds
        if self._context.seconds is not None:
            self._costs.tell(trial)
        if self._advice is not None:
            self._advice.tell(trial)
        if trial.loss is not None and trial.proposal.fidelity == Fidelity():
            name = configuration["learner"]
            self._best[name] = min(self._best[name], trial.loss)

    def _advised(self) -> Proposal | None:
        """What promises most a second; None if nothing does."""
        if self._advice is None:
            return None
        gains = self._advice.gains(self._begun)
        source = Source.SURROGATE if self._advice.is_informed else Source.NEIGHBOUR
        proposals = [Proposal(configuration=one, source=source) for one in self._advice.configurations]
        seconds = np.array([self._costs.seconds(proposal) for proposal in proposals])
        for place in np.argsort(-gains / (seconds + _OVERHEAD * seconds.mean()), kind="stable"):
            proposal = proposals[int(place)]
            is_new = canonical(proposal.configuration) not in self._begun
            if is_new and gains[place] >= _LEAST_GAIN and self._affordable(proposal):
                return proposal
        return None

    def _cold(self) -> Proposal | None:
        for configuration in self._opening:
            if canonical(configuration) not in self._begun:
                return Proposal(configuration=configuration, source=Source.DEFAULT)
        return self._halving.promotion(self._affordable) or self._newcomer()

    def _order(self) -> Iterator[Configuration]:
        """The opening, then defaults of learners that it does not know. Lazy: what is affordable changes."""
        space = self._context.space
        own = {
            (name, place): configuration
            for name, each in space.defaults_by_learner().items()
            for place, configuration in enumerate(each)
        }
        left_out = set() if self._context.is_skewed else _FOR_SKEWED
        known = [key for key in _OPENING if key in own and key not in left_out]
        spared = {*known, *left_out, *_INSTEAD.values()}
        rest = [key for key in sorted(own, key=lambda key: key[1]) if key not in spared]
        for key in known + rest:
            choices = [own[one] for one in (key, _INSTEAD.get(key)) if one in own]
            affordable = (choice for choice in choices if self._affordable(Proposal(configuration=choice)))
            if (configuration := next(affordable, None)) is not None:
                yield configuration

    def _newcomer(self) -> Proposal | None:
        for _ in range(_PATIENCE):
            proposal = self._halving.newcomer(self._draw)
            if proposal is not None and self._affordable(proposal):
                return proposal
        return self._halving.newcomer()

    def _draw(self) -> Configuration:
        return self._context.space.sample(self._rng, self._learner())

    def _learner(self) -> str:
        """A learner: now and then any, else the better its best loss ranks the likelier."""
        names = [name for name in self._context.space.learners if name != "dummy"] or ["dummy"]
        if self._rng.random() < _ANY_LEARNER or not self._best:
            return names[int(self._rng.integers(len(names)))]
        ranked = sorted(names, key=lambda name: (self._best[name], name))
        weights = _RANK_DECAY ** np.arange(len(ranked))
        return str(self._rng.choice(ranked, p=weights / weights.sum()))

    def _affordable(self, proposal: Proposal) -> bool:
        """Whether it is predicted to finish. Without a time limit everything does, and no measured time counts."""
        seconds = self._context.seconds
        if seconds is None:
            return True
        left = _SEARCH_SHARE * seconds - self._spent_s / self._context.workers
        allowed = max(_LEAST_SHARE * seconds, min(_SHARE * seconds, left))
        return self._costs.fits(proposal) and self._costs.seconds(proposal) <= allowed
