"""Predicted seconds and megabytes come near what trials take, after few of them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from workers.engine.learners.base import Size
from workers.engine.search.base import SearchContext
from workers.engine.search.costs import CostModel
from workers.engine.space import Space
from workers.engine.types import Configuration, Fidelity, Proposal, TaskKind, Trial, TrialStatus

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


def done(proposal: Proposal, seconds: float, status: TrialStatus = TrialStatus.SUCCEEDED, **more: Any) -> Trial:
    return Trial(number=0, proposal=proposal, status=status, loss=0.1, seconds=seconds, **more)


def first_of(learner: str, context: SearchContext) -> Configuration:
    return context.space.defaults_by_learner()[learner][0]


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


def test_what_is_predicted_to_need_too_much_memory_is_not_tried(context: SearchContext) -> None:
    """A tenth of the rows tells what all of them need: little on a small table, too much on a large one."""
    tenth, whole = Fidelity(rows=0.1), Fidelity()
    for rows, is_too_much in ((5_000, False), (2_000_000, True)):
        where = replace(context, size=replace(context.size, rows=rows), trial_memory_mb=4_000)
        model, first = CostModel(where), first_of("catboost", where)
        each_row_mb = 0.004
        model.tell(
            done(Proposal(configuration=first, fidelity=tenth), 1.0, memory_mb=60 + each_row_mb * rows * tenth.rows)
        )
        assert model.fits(Proposal(configuration=first, fidelity=tenth))
        assert model.fits(Proposal(configuration=first, fidelity=whole)) != is_too_much


def test_memory_of_one_learner_says_little_of_another(context: SearchContext) -> None:
    """Eight times the hint throughout for one: it is believed of that one, and less than half of it of others."""
    before, after = CostModel(context), CostModel(context)
    greedy, other = (Proposal(configuration=first_of(name, context)) for name in ("random_forest", "lightgbm"))
    for _ in range(4):
        after.tell(done(greedy, 1.0, memory_mb=8 * before.megabytes(greedy)))
    assert after.megabytes(greedy) > 5 * before.megabytes(greedy)
    assert after.megabytes(other) < 3 * before.megabytes(other)
