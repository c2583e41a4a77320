"""The whole loop, in a folder: budget, seed, resume, holdout, and what a model is made of."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from workers.engine.bundle import open_bundle
from workers.engine.catalog import LEARNERS
from workers.engine.errors import NoModelError
from workers.engine.evaluation.pool import warm_up
from workers.engine.fit import FitResult, Plan, fit
from workers.engine.journal import FolderJournal
from workers.engine.space import Space, canonical
from workers.engine.types import Budget, Limits, Proposal, Scheme, Source, TaskKind, TrialStatus

QUICK = Plan(algorithms=("dummy", "linear", "naive_bayes", "nearest_neighbours", "svm"), cores=2)


@pytest.fixture(scope="module", autouse=True)
def _warm() -> None:
    warm_up()


def solve(problem: Any, plan: Plan, budget: Budget, folder: Path) -> tuple[FitResult, Any]:
    """(the result, the model's predictions for all rows)."""
    result = fit(problem.table, problem.y, problem.task, plan, FolderJournal(folder, budget), folder / "scratch")
    return result, open_bundle(folder / "model.zip").predict_columns(problem.table.columns)


def shape_of(result: FitResult) -> Any:
    """What must be the same when the same seed runs again."""
    trials = [(t.number, t.proposal, t.status, t.loss, t.fold_losses) for t in result.trials]
    return trials, result.weights, result.score


def test_same_seed_and_trial_budget_give_the_same_leaderboard_and_predictions(
    make_problem: Callable[..., Any], tmp_path: Path
) -> None:
    problem, budget = make_problem(TaskKind.BINARY), Budget(seconds=None, trials=12)
    one, first = solve(problem, QUICK, budget, tmp_path / "one")
    two, second = solve(problem, QUICK, budget, tmp_path / "two")
    assert one.reproducible
    assert len(one.trials) == 12
    assert shape_of(one) == shape_of(two)
    assert np.array_equal(first, second)


def test_a_fit_that_was_killed_half_way_ends_as_if_nothing_had_happened(
    make_problem: Callable[..., Any], tmp_path: Path
) -> None:
    """kill -9 in the midst, then again from the log: no finished trial is repeated, and all is the same."""
    problem, budget = make_problem(TaskKind.BINARY), Budget(seconds=None, trials=12)
    expected, predictions = solve(problem, QUICK, budget, tmp_path / "whole")
    script = tmp_path / "half.py"
    script.write_text(
        f"""
import pickle, sys
from pathlib import Path
from workers.engine.fit import fit
from workers.engine.journal import FolderJournal
from workers.engine.types import Budget
problem_, plan = pickle.loads(Path({str(tmp_path / "problem")!r}).read_bytes())
table, y, task = problem_
folder = Path({str(tmp_path / "half")!r})
fit(table, y, task, plan, FolderJournal(folder, Budget(seconds=None, trials=12)), folder / "scratch")
"""
    )
    import pickle

    (tmp_path / "problem").write_bytes(pickle.dumps(((problem.table, problem.y, problem.task), QUICK)))
    process = subprocess.Popen([sys.executable, script], start_new_session=True)
    log = tmp_path / "half" / "log.jsonl"
    until = time.monotonic() + 60
    while time.monotonic() < until and (not log.exists() or log.read_text().count('"trial"') < 5):
        assert process.poll() is None, "it ended before it could be killed"
        time.sleep(0.002)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    told_before = log.read_text().count('"trial"')
    assert 5 <= told_before < 12
    resumed, again = solve(problem, QUICK, budget, tmp_path / "half")
    assert log.read_text().count('"trial"') == 12
    assert shape_of(resumed) == shape_of(expected)
    assert np.array_equal(again, predictions)


def test_what_was_under_way_when_an_attempt_ended_is_done_once(
    make_problem: Callable[..., Any], tmp_path: Path
) -> None:
    problem, plan = make_problem(TaskKind.BINARY), replace(QUICK, strategy="portfolio")
    journal = FolderJournal(tmp_path, Budget(seconds=60, trials=6))
    for number, configuration in enumerate(Space(QUICK.algorithms, TaskKind.BINARY).defaults()[:2]):
        journal.asked(number, Proposal(configuration=configuration, source=Source.DEFAULT))
    result, _ = solve(problem, plan, Budget(seconds=60, trials=6), tmp_path)
    assert len({canonical(trial.proposal.configuration) for trial in result.trials}) == 6


def test_a_fit_that_has_no_time_for_folds_does_without_and_stays_with_that(
    make_problem: Callable[..., Any], tmp_path: Path
) -> None:
    problem, plan = make_problem(TaskKind.MULTICLASS, 2500), Plan(algorithms=("linear", "lightgbm"), cores=2)
    hasty, _ = solve(problem, plan, Budget(seconds=2), tmp_path / "hasty")
    assert {len(trial.fold_losses) for trial in hasty.trials if trial.loss is not None} == {1}
    longer, _ = solve(problem, plan, Budget(seconds=300, trials=len(hasty.trials) + 2), tmp_path / "hasty")
    assert len(longer.trials) == len(hasty.trials) + 2
    assert max(len(trial.fold_losses) for trial in longer.trials) == 1
    patient, _ = solve(problem, plan, Budget(seconds=300, trials=2), tmp_path / "patient")
    assert {len(trial.fold_losses) for trial in patient.trials} == {5}


@pytest.mark.parametrize("kind", list(TaskKind))
def test_a_fit_ends_in_time_with_a_model_that_predicts(
    kind: TaskKind, make_problem: Callable[..., Any], tmp_path: Path
) -> None:
    problem, journal = make_problem(kind, 300), FolderJournal(tmp_path, Budget(seconds=4))
    started = time.monotonic()
    result = fit(problem.table, problem.y, problem.task, Plan(cores=2), journal, tmp_path / "scratch")
    assert time.monotonic() - started <= 1.05 * 4 + 1
    predictions = open_bundle(tmp_path / "model.zip").predict_columns(problem.table.columns)
    assert not result.reproducible
    assert result.weights
    assert sum(result.weights.values()) == pytest.approx(1.0)
    if problem.n_classes:
        assert (predictions.argmax(axis=1) == problem.y).mean() > 0.8
    else:
        assert np.corrcoef(predictions, problem.y)[0, 1] > 0.9


def test_a_holdout_is_scored_once_and_then_joined(make_problem: Callable[..., Any], tmp_path: Path) -> None:
    problem = make_problem(TaskKind.REGRESSION, 400, holdout=0.25)
    result, _ = solve(problem, QUICK, Budget(seconds=None, trials=4), tmp_path)
    assert result.score.method == "holdout"
    assert result.score.rows == 100
    assert result.score.low < result.score.value < result.score.high


class _Watched(FolderJournal):
    """Notes what is published, and what was known of the trials then; raises the budget when asked to."""

    def __init__(self, folder: Path, budget: Budget, raised: Budget | None = None) -> None:
        super().__init__(folder, budget)
        self.raised, self.published, self.told_trials = raised, [], 0

    def told(self, trial: Any, folder: Path | None) -> None:
        super().told(trial, folder)
        self.told_trials += 1
        if self.raised is not None and self.told_trials == 2:
            self._budget = self.raised

    def publish(self, path: Path, manifest: Any, *, final: bool) -> None:
        super().publish(path, manifest, final=final)
        self.published.append((self.told_trials, final, manifest))


def test_the_first_model_is_there_at_once_and_the_last_is_final(
    make_problem: Callable[..., Any], tmp_path: Path
) -> None:
    problem = make_problem(TaskKind.BINARY)
    plan = Plan(algorithms=QUICK.algorithms, cores=1, publish_every_s=0)
    journal = _Watched(tmp_path, Budget(seconds=None, trials=10))
    fit(problem.table, problem.y, problem.task, plan, journal, tmp_path / "scratch")
    told, finals, manifests = zip(*journal.published, strict=True)
    assert told[0] == 1
    assert finals == (False,) * (len(finals) - 1) + (True,)
    assert len(finals) >= 3
    assert all(member["folds"] > 1 for member in manifests[0]["members"])


@pytest.mark.parametrize(("validation", "folds"), [({}, 10), ({"holdout": 0.2}, 1), ({"scheme": Scheme.HOLDOUT}, 1)])
def test_networks_are_averaged_over_folds_unless_rows_would_be_lost(
    validation: dict[str, Any], folds: int, make_problem: Callable[..., Any], tmp_path: Path
) -> None:
    problem = make_problem(TaskKind.REGRESSION, 100, **validation)
    journal = _Watched(tmp_path, Budget(seconds=None, trials=1))
    fit(problem.table, problem.y, problem.task, Plan(algorithms=("network",)), journal, tmp_path / "scratch")
    assert [member["folds"] for member in journal.published[-1][2]["members"]] == [folds]


def test_a_budget_that_grows_while_it_runs_is_used(make_problem: Callable[..., Any], tmp_path: Path) -> None:
    problem = make_problem(TaskKind.REGRESSION)
    journal = _Watched(tmp_path, Budget(seconds=None, trials=3), Budget(seconds=None, trials=7))
    result = fit(problem.table, problem.y, problem.task, QUICK, journal, tmp_path / "scratch")
    assert len(result.trials) == 7


def test_an_attempt_that_begins_when_the_time_is_over_still_makes_the_model(
    make_problem: Callable[..., Any], tmp_path: Path
) -> None:
    """The worker died while it finalised: the next finds all trials done and no time left."""
    problem = make_problem(TaskKind.BINARY)
    solve(problem, QUICK, Budget(seconds=None, trials=5), tmp_path)
    (tmp_path / "model.zip").unlink()
    shutil.rmtree(tmp_path / "scratch")
    started = time.monotonic()
    journal = FolderJournal(tmp_path, Budget(seconds=20))
    result = fit(problem.table, problem.y, problem.task, QUICK, journal, tmp_path / "scratch", used_s=20.0)
    assert time.monotonic() - started < 3
    assert len(result.trials) == 5
    assert open_bundle(tmp_path / "model.zip").predict_columns(problem.table.columns).shape == (120, 2)


def test_without_an_ensemble_the_best_trial_is_the_model(make_problem: Callable[..., Any], tmp_path: Path) -> None:
    problem = make_problem(TaskKind.MULTICLASS)
    plan = Plan(algorithms=QUICK.algorithms, cores=2, ensemble=False)
    result, _ = solve(problem, plan, Budget(seconds=None, trials=6), tmp_path)
    full = [trial for trial in result.trials if trial.proposal.fidelity.is_full and trial.loss is not None]
    best = min(full, key=lambda trial: (trial.loss, trial.number))
    assert result.weights == {best.number: 1.0}


@pytest.mark.parametrize("strategy", ["random", "halving", "auto"])
def test_every_strategy_yields_a_model(strategy: str, make_problem: Callable[..., Any], tmp_path: Path) -> None:
    problem = make_problem(TaskKind.BINARY)
    plan = Plan(algorithms=("linear", "naive_bayes"), cores=2, strategy=strategy)
    result, _ = solve(problem, plan, Budget(seconds=None, trials=8), tmp_path)
    assert len(result.trials) == 8
    assert result.score.value > 0.8


@pytest.mark.parametrize("ensemble", [True, False])
def test_members_are_left_out_until_the_model_keeps_its_limits(
    ensemble: bool, make_problem: Callable[..., Any], tmp_path: Path
) -> None:
    limits = Limits(predict_ms_per_row=0.02, megabytes=0.06)
    learners = ("linear", "naive_bayes", "extra_trees")
    problem = make_problem(TaskKind.BINARY)
    plan = Plan(algorithms=learners, cores=2, strategy="random", ensemble=ensemble, limits=limits)
    result, _ = solve(problem, plan, Budget(seconds=None, trials=8), tmp_path)
    used = [trial for trial in result.trials if trial.number in result.weights]
    assert max(trial.megabytes for trial in result.trials) > 0.06
    assert sum(trial.megabytes for trial in used) <= 0.06
    assert sum(trial.predict_ms_per_row for trial in used) <= 0.02


def test_the_smallest_is_the_model_when_none_keeps_the_limits(make_problem: Callable[..., Any], tmp_path: Path) -> None:
    plan = Plan(algorithms=("extra_trees", "linear"), cores=2, limits=Limits(megabytes=1e-6))
    result, _ = solve(make_problem(TaskKind.BINARY), plan, Budget(seconds=None, trials=4), tmp_path)
    (number,) = result.weights
    assert number == min(result.trials, key=lambda trial: trial.megabytes).number


def test_a_trial_that_needs_more_than_its_share_is_no_model(make_problem: Callable[..., Any], tmp_path: Path) -> None:
    problem = make_problem(TaskKind.BINARY)
    plan = Plan(algorithms=("catboost",), cores=1)
    budget = Budget(seconds=None, trials=1, trial_memory_mb=1)
    with pytest.raises(NoModelError, match="limit is 1 MB"):
        solve(problem, plan, budget, tmp_path)


def test_when_nothing_else_scores_the_baseline_is_the_model(
    make_problem: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parent / "evaluation"))
    monkeypatch.setitem(LEARNERS, "broken", "/hostile:RAISE")
    problem = make_problem(TaskKind.BINARY)
    plan = Plan(algorithms=("broken", "dummy"), cores=1, strategy="random")
    result, predictions = solve(problem, plan, Budget(seconds=None, trials=1), tmp_path)
    assert result.trials[-1].proposal.configuration["learner"] == "dummy"
    assert result.trials[-1].status is TrialStatus.SUCCEEDED
    assert predictions[:, 1] == pytest.approx(np.full(len(predictions), 0.5), abs=0.05)
