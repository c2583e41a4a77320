"""What every strategy must do, whoever wrote it."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from workers.engine.catalog import LEARNERS, STRATEGIES, get_strategy
from workers.engine.learners.base import Size
from workers.engine.search.base import SearchContext, Strategy
from workers.engine.search.halving import AsynchronousHalving, ladder
from workers.engine.space import Space, canonical
from workers.engine.types import Fidelity, Proposal, Source, TaskKind, Trial, TrialStatus

ALL = tuple(STRATEGIES)


def context(rows: int = 1000, names: tuple[str, ...] = ("linear", "svm", "lightgbm"), seed: int = 0) -> SearchContext:
    size = Size(rows=rows, columns=10, classes=2)
    return SearchContext(
        space=Space(names, TaskKind.BINARY, size), size=size, seed=seed, workers=2, seconds=60, trials=None, n_folds=5
    )


def outcome(number: int, proposal: Proposal) -> Trial:
    """A loss that depends on the configuration alone; one in six fails."""
    rng = random.Random(canonical(proposal.configuration))
    if rng.random() < 1 / 6:
        return Trial(number=number, proposal=proposal, status=TrialStatus.FAILED, reason="bad luck")
    return Trial(number=number, proposal=proposal, status=TrialStatus.SUCCEEDED, loss=rng.random())


def play(strategy: Strategy, rounds: int) -> Iterator[Proposal]:
    for number in range(rounds):
        proposal = strategy.ask()
        if proposal is None:
            return
        yield proposal
        strategy.tell(outcome(number, proposal))


@pytest.mark.parametrize("name", ALL)
def test_proposals_are_points_of_the_space_and_none_is_made_twice(name: str) -> None:
    where = context()
    proposals = list(play(get_strategy(name)(where), 80))
    assert len(proposals) == 80
    assert all(where.space.validate(proposal.configuration) == proposal.configuration for proposal in proposals)
    keys = [(canonical(proposal.configuration), proposal.fidelity) for proposal in proposals]
    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize("name", ALL)
def test_seed_and_log_decide_every_proposal(name: str) -> None:
    one, two = (list(play(get_strategy(name)(context(seed=7)), 60)) for _ in range(2))
    other = list(play(get_strategy(name)(context(seed=8)), 60))
    assert one == two
    assert one != other


@pytest.mark.parametrize("name", ALL)
def test_trials_that_it_never_asked_for_are_taken_note_of(name: str) -> None:
    where = context()
    strategy = get_strategy(name)(where)
    for number, configuration in enumerate(where.space.defaults()):
        proposal = Proposal(configuration=configuration, source=Source.REPLAY, fidelity=Fidelity(rows=0.123))
        strategy.tell(outcome(number, proposal))
    assert strategy.ask() is not None


@pytest.mark.parametrize("name", ALL)
def test_what_it_was_only_told_of_is_not_proposed_again(name: str) -> None:
    """As after a crash, when the log is all that is left."""
    before = [
        (proposal, outcome(number, proposal))
        for number, proposal in enumerate(play(get_strategy(name)(context(rows=20_000)), 150))
    ]
    resumed = get_strategy(name)(context(rows=20_000))
    for _, trial in before:
        resumed.tell(trial)
    done = {(canonical(proposal.configuration), proposal.fidelity) for proposal, _ in before}
    after = [(canonical(one.configuration), one.fidelity) for one in play(resumed, 60)]
    assert len(after) == 60
    assert not done & set(after)


@pytest.mark.parametrize("name", ALL)
def test_it_ends_when_there_is_nothing_new(name: str) -> None:
    proposals = list(play(get_strategy(name)(context(names=("dummy",))), 20))
    assert 1 <= len(proposals) <= 4


def test_halving_promotes_the_best_third_to_the_next_fidelity() -> None:
    where = context(rows=50_000, names=("linear",))
    strategy = AsynchronousHalving(where)
    low, *_, full = strategy.fidelities
    assert full == Fidelity()
    assert low.rows < 1
    losses = {}
    for number in range(9):
        proposal = strategy.newcomer(None)
        assert proposal is not None
        losses[canonical(proposal.configuration)] = number / 10
        strategy.tell(Trial(number=number, proposal=proposal, status=TrialStatus.SUCCEEDED, loss=number / 10))
    promoted = []
    while (promotion := strategy.promotion()) is not None:
        promoted.append(losses[canonical(promotion.configuration)])
        assert promotion.fidelity == strategy.fidelities[1]
        assert promotion.source is Source.HALVING
    assert promoted == [0.0, 0.1, 0.2]


@pytest.mark.parametrize(("rows", "rungs"), [(500, 1), (1_500, 2), (7_000, 3), (30_000, 4)])
def test_the_ladder_has_more_rungs_where_rows_are_many(rows: int, rungs: int) -> None:
    fidelities = ladder(context(rows=rows))
    assert len(fidelities) == rungs
    assert list(fidelities[:-1]) == sorted(fidelities[:-1])


def test_auto_opens_with_something_that_is_done_at_once_then_with_the_strong() -> None:
    where = context(names=tuple(Space(["linear", "lightgbm", "catboost"], TaskKind.BINARY).learners))
    opening = [proposal.configuration["learner"] for proposal in play(get_strategy("auto")(where), 3)]
    assert opening == ["linear", "lightgbm", "catboost"]


def test_auto_leaves_out_what_can_not_finish() -> None:
    size = Size(rows=50_000, columns=800, classes=10)
    small = SearchContext(
        space=Space(["linear", "catboost"], TaskKind.MULTICLASS, size),
        size=size,
        seed=0,
        workers=2,
        seconds=10,
        trials=None,
        n_folds=5,
    )
    opening = [proposal for proposal in play(get_strategy("auto")(small), 10) if proposal.source is Source.DEFAULT]
    assert all(proposal.configuration["learner"] != "catboost" for proposal in opening)


def opening(seconds: float | None, slowness: float) -> list[tuple[str, float | None]]:
    """Learners and learning rates that auto proposes first on a machine that takes `slowness` seconds a trial."""
    size = Size(rows=4_000, columns=10, classes=2)
    where = SearchContext(
        space=Space(("linear", "lightgbm", "catboost", "random_forest"), TaskKind.BINARY, size),
        size=size,
        seed=0,
        workers=2,
        seconds=seconds,
        trials=None,
        n_folds=5,
    )
    strategy, names = get_strategy("auto")(where), []
    for number in range(8):
        proposal = strategy.ask()
        assert proposal is not None
        names.append((proposal.configuration["learner"], proposal.configuration.get("learning_rate")))
        strategy.tell(Trial(number=number, proposal=proposal, status=TrialStatus.SUCCEEDED, loss=0.1, seconds=slowness))
    return names


def test_auto_proposes_cheaper_ones_when_the_machine_is_slower_than_predicted() -> None:
    assert opening(60, 0.1).count(("catboost", 0.08)) > opening(60, 14.0).count(("catboost", 0.08))


def test_where_a_default_would_take_too_long_a_quick_one_of_its_family_stands_in() -> None:
    size = Size(rows=26_000, columns=8, classes=19)
    space = Space(("linear", "lightgbm", "catboost"), TaskKind.MULTICLASS, size)
    for seconds, rates in ((15, {0.3}), (6000, {0.05, 0.03})):
        where = SearchContext(space=space, size=size, seed=0, workers=2, seconds=seconds, trials=None, n_folds=1)
        opening = [one for one in play(get_strategy("auto")(where), 12) if one.source is Source.DEFAULT]
        boosted = [one.configuration for one in opening if one.configuration["learner"] == "lightgbm"]
        assert {one["learning_rate"] for one in boosted} == rates


def test_without_a_time_limit_measured_time_does_not_count() -> None:
    assert opening(None, 0.1) == opening(None, 14.0)


def test_small_tables_are_evaluated_whole_at_once() -> None:
    assert all(proposal.fidelity.is_full for proposal in play(get_strategy("halving")(context(rows=300)), 20))


def test_a_target_with_a_long_tail_is_tried_as_its_logarithm_early() -> None:
    space, size = Space(LEARNERS, TaskKind.REGRESSION), Size(rows=1000, columns=10, classes=0)
    first = {}
    for is_skewed in (False, True):
        where = SearchContext(
            space=space, size=size, seed=0, workers=2, seconds=60, trials=None, n_folds=5, is_skewed=is_skewed
        )
        opening = [proposal for proposal in play(get_strategy("auto")(where), 40) if proposal.source is Source.DEFAULT]
        logs = [place for place, one in enumerate(opening) if one.configuration.get("target_transform") == "log"]
        first[is_skewed] = [opening[place].configuration["learner"] for place in logs]
        assert all(place < 8 for place in logs)
    assert first == {False: [], True: ["catboost", "lightgbm"]}
