"""Predicted seconds come near what trials take, after few of them."""

from __future__ import annotations

import numpy as np
import pytest

from workers.engine.learners.base import Size
from workers.engine.search.base import SearchContext
from workers.engine.search.costs import CostModel
from workers.engine.space import Space
from workers.engine.types import Fidelity, Proposal, TaskKind, Trial, TrialStatus

NAMES = ("linear", "lightgbm", "catboost", "random_forest", "network")


@pytest.fixture
def context() -> SearchContext:
    size = Size(rows=5000, columns=20, classes=2)
    space = Space(NAMES, TaskKind.BINARY, size)
    return SearchContext(space=space, size=size, seed=0, workers=2, seconds=60, trials=None, n_folds=5)


def draw(context: SearchContext, seed: int) -> Proposal:
    rng = np.random.default_rng(seed)
    folds = None if rng.random() < 0.5 else 1
    return Proposal(configuration=context.space.sample(rng), fidelity=Fidelity(folds=folds))


def done(proposal: Proposal, seconds: float, status: TrialStatus = TrialStatus.SUCCEEDED, **more: bool) -> Trial:
    return Trial(number=0, proposal=proposal, status=status, loss=0.1, seconds=seconds, **more)


def test_it_learns_how_slow_the_machine_and_each_learner_are(context: SearchContext) -> None:
    """Twice as slow throughout, one learner six times: errors of the hints are mostly gone after twenty trials."""
    hints, model = CostModel(context), CostModel(context)
    rng = np.random.default_rng(1)

    def truth(proposal: Proposal) -> float:
        slow = 6.0 if proposal.configuration["learner"] == "network" else 2.0
        return float(slow * hints.seconds(proposal) * np.exp(0.2 * rng.normal()))

    for seed in range(20):
        proposal = draw(context, seed)
        model.tell(done(proposal, truth(proposal)))
    unseen = [draw(context, seed) for seed in range(100, 160)]
    before, after = (np.mean([abs(np.log(m.seconds(p) / truth(p))) for p in unseen]) for m in (hints, model))
    assert after < 0.35 < 0.75 < before


def test_a_trial_that_time_ended_says_at_least_so_long(context: SearchContext) -> None:
    model, proposal = CostModel(context), draw(context, 0)
    before = model.seconds(proposal)
    model.tell(done(proposal, before / 2, timed=True))
    assert model.seconds(proposal) == before
    model.tell(done(proposal, 10 * before, TrialStatus.TIMED_OUT, timed=True))
    assert model.seconds(proposal) > 1.5 * before


def test_what_ran_out_of_memory_is_not_tried_with_as_many_rows(context: SearchContext) -> None:
    model, proposal = CostModel(context), draw(context, 0)
    assert model.fits(proposal)
    model.tell(done(proposal, 1.0, TrialStatus.OUT_OF_MEMORY))
    assert not model.fits(proposal)
    fewer = Proposal(configuration=proposal.configuration, fidelity=Fidelity(rows=0.1))
    assert model.fits(fewer)
