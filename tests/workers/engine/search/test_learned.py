"""Strategies whose metamodels have practised on past tasks."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from tests.workers.engine.meta.made import CONFIGURATIONS, COUNT, SIZE, make_losses, play
from workers.engine.catalog import get_metamodel, get_strategy
from workers.engine.meta.metamodel import Metamodel
from workers.engine.meta.past import Past
from workers.engine.search.base import SearchContext
from workers.engine.space import FiniteSpace, canonical
from workers.engine.types import Configuration, Proposal, Source, Trial, TrialStatus

NAMES = ("rnn", "mann", "lstm_optimiser", "composite")
PAST = Past(CONFIGURATIONS, make_losses(60, seed=1))


@cache
def trained(name: str) -> Metamodel:
    return get_metamodel(name).train(PAST, FiniteSpace(CONFIGURATIONS), seed=0, steps=40)


def metamodels(name: str) -> dict[str, Metamodel]:
    return {needed: trained(needed) for needed in getattr(get_strategy(name), "needs", ())}


def mean_regret(name: str, **known: object) -> float:
    regrets = []
    for number, row in enumerate(make_losses(30, seed=2)):
        regrets.append(row[play(name, row, PAST, 8, seed=number, **known)].min() - row.min())
    return float(np.mean(regrets))


@pytest.mark.parametrize("name", NAMES)
def test_it_beats_chance_and_the_portfolio(name: str) -> None:
    found = mean_regret(name, metamodels=metamodels(name))
    assert found < 0.5 * mean_regret("random")
    assert found < mean_regret("portfolio")


@pytest.mark.parametrize("name", NAMES)
def test_seed_and_log_decide_every_proposal_and_all_of_the_past_is_proposed(name: str) -> None:
    row, known = make_losses(1, seed=2)[0], metamodels(name)
    asked = play(name, row, PAST, COUNT, metamodels=known)
    assert asked == play(name, row, PAST, COUNT, metamodels=known)
    assert sorted(asked) == list(range(COUNT))


@pytest.mark.parametrize("name", NAMES)
def test_without_its_metamodel_it_is_the_plain_method(name: str) -> None:
    row, plain = make_losses(1, seed=2)[0], "transfer" if name == "composite" else "portfolio"
    assert play(name, row, PAST, 10) == play(plain, row, PAST, 10)
    assert play(name, row, None, 10, metamodels=metamodels(name)) == play("portfolio", row, None, 10)


@pytest.mark.parametrize("name", NAMES)
def test_trials_that_it_never_asked_for_teach_it_and_strange_learners_are_left_to_others(name: str) -> None:
    strange: Configuration = {"learner": "new", "depth": 3}
    past = Past([*CONFIGURATIONS, strange], np.column_stack([PAST.losses, np.zeros(60)]))
    context = SearchContext(
        space=FiniteSpace([*CONFIGURATIONS, strange, {"learner": "a", "width": 3.3}]),
        size=SIZE,
        seed=0,
        workers=1,
        seconds=None,
        trials=None,
        n_folds=1,
        past=past,
        metamodels=metamodels(name),
    )
    strategy = get_strategy(name)(context)
    told = [strange, {"learner": "a", "width": 3.3}, *CONFIGURATIONS[:3]]
    for number, configuration in enumerate(told):
        proposal = Proposal(configuration=configuration, source=Source.REPLAY)
        strategy.tell(Trial(number=number, proposal=proposal, status=TrialStatus.SUCCEEDED, loss=0.5))
    proposed = [strategy.ask() for _ in range(5)]
    assert {proposal.source for proposal in proposed if proposal} <= {Source.SURROGATE, Source.OPTIMISER}
    texts = {canonical(proposal.configuration) for proposal in proposed if proposal}
    assert len(texts) == 5
    assert not texts & set(map(canonical, told))
