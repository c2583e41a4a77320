"""Which trials may become part of a model, and on which rows they are compared."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from workers.engine import candidates
from workers.engine.candidates import Store
from workers.engine.evaluation.prepare import prepare
from workers.engine.evaluation.splits import make_splits
from workers.engine.journal import FolderJournal
from workers.engine.types import Budget, Fidelity, Proposal, Scheme, TaskKind, Trial, TrialStatus

ALL, SOME = TrialStatus.SUCCEEDED, TrialStatus.STOPPED


@pytest.fixture
def make_store(make_problem: Callable[..., Any], tmp_path: Path) -> Callable[..., Store]:
    """A store of trials given as (status, fold losses, fidelity), with predictions for the folds that each did."""

    def make(*trials: tuple[TrialStatus, list[float], Fidelity]) -> Store:
        problem = make_problem(TaskKind.REGRESSION, 100, scheme=Scheme.KFOLD, folds=5)
        splits = make_splits(problem.task, problem.y)
        prepared = prepare(tmp_path / "task", problem.table, problem.y, None, problem.task, splits)
        store = Store(prepared, FolderJournal(tmp_path / "journal", Budget()), tmp_path)
        for number, (status, losses, fidelity) in enumerate(trials):
            oof = np.full((100, 1), np.nan, dtype=np.float32)
            for _, rows in splits.folds[: len(losses)]:
                oof[rows] = number
            folder = tmp_path / f"trial_{number}"
            folder.mkdir()
            np.save(folder / "oof.npy", oof)
            proposal = Proposal(configuration={"learner": "linear", "n": number}, fidelity=fidelity)
            store.add(
                Trial(
                    number=number,
                    proposal=proposal,
                    status=status,
                    loss=float(np.mean(losses)),
                    fold_losses=tuple(losses),
                )
            )
        return store

    return make


def numbers(store: Store) -> list[int]:
    found = store.candidates()
    assert found is not None
    assert all(len(prediction) == len(found.rows) == len(found.y) for prediction in found.predictions)
    return [trial.number for trial in found.trials]


def test_whole_trials_are_ranked_and_partial_fidelities_left_out(make_store: Callable[..., Store]) -> None:
    store = make_store((ALL, [2.0] * 5, Fidelity()), (ALL, [1.0], Fidelity(folds=1)), (ALL, [1.5] * 5, Fidelity()))
    assert numbers(store) == [2, 0]


def test_a_trial_stopped_by_time_competes_if_it_was_better_on_the_folds_that_it_did(
    make_store: Callable[..., Store],
) -> None:
    whole = (ALL, [3.0, 3.0, 3.0, 3.0, 1.0], Fidelity())
    better, worse, short = ([2.9] * 4, [3.1] * 4, [1.0])
    store = make_store(whole, (SOME, better, Fidelity()), (SOME, worse, Fidelity()), (SOME, short, Fidelity()))
    assert numbers(store) == [1, 0]
    found = store.candidates()
    assert found is not None
    assert len(found.rows) == 80


def test_while_nothing_is_whole_the_best_partial_one_is_all_there_is(make_store: Callable[..., Store]) -> None:
    store = make_store((SOME, [2.0, 2.0], Fidelity()), (ALL, [1.0], Fidelity(folds=1)))
    assert numbers(store) == [1]


def test_many_rows_are_sampled(make_store: Callable[..., Store], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(candidates, "_MOST_ROWS", 30)
    found = make_store((ALL, [1.0] * 5, Fidelity())).candidates()
    assert found is not None
    assert len(found.rows) == len(np.unique(found.rows)) == 30


def test_what_is_gone_is_no_candidate(make_store: Callable[..., Store], tmp_path: Path) -> None:
    store = make_store((ALL, [1.0] * 5, Fidelity()), (ALL, [2.0] * 5, Fidelity()))
    (tmp_path / "trial_0" / "oof.npy").unlink()
    assert numbers(store) == [1]
