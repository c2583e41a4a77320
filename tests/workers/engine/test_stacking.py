"""The second layer: it learns what no weighted average can say, and a bundle predicts with it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from workers.engine import selection
from workers.engine.bundle import open_bundle
from workers.engine.candidates import Candidates
from workers.engine.ensemble import Ensemble, select
from workers.engine.evaluation.metrics import loss
from workers.engine.evaluation.pool import warm_up
from workers.engine.evaluation.prepare import PreparedTask, prepare
from workers.engine.evaluation.splits import make_splits
from workers.engine.fit import Plan, fit
from workers.engine.journal import FolderJournal
from workers.engine.space import Space
from workers.engine.stacking import StackPlan
from workers.engine.types import Budget, Proposal, Scheme, TaskKind, Trial, TrialStatus, Validation

MEMBERS = ("linear", "lightgbm", "naive_bayes")
N = 1_500


@pytest.fixture(scope="module", autouse=True)
def _warm() -> None:
    warm_up()


def prepared_of(problem: Any, folder: Path, **validation: Any) -> PreparedTask:
    vars(problem.task)["validation"] = Validation(**validation)
    times = np.arange(len(problem.y), dtype=np.float64) if validation.get("scheme") is Scheme.TIME else None
    splits = make_splits(problem.task, problem.y, times=times)
    return prepare(folder, problem.table, problem.y, None, problem.task, splits)


def candidates_of(y: Any, predictions: list[Any]) -> Candidates:
    trials = [
        Trial(number=10 + place, proposal=Proposal(configuration={"learner": "linear"}), status=TrialStatus.SUCCEEDED)
        for place in range(len(predictions))
    ]
    return Candidates(trials, np.arange(len(y)), y, None, predictions)


def test_it_finds_out_where_which_member_is_right(make_problem: Callable[..., Any], tmp_path: Path) -> None:
    """Member one is right where member three is positive, member two elsewhere: no weights of theirs can say that."""
    problem = make_problem(TaskKind.REGRESSION, N)
    prepared = prepared_of(problem, tmp_path / "task")
    y, rng = problem.y, np.random.default_rng(0)
    side, noise = rng.normal(size=N), 3 * y.std() * rng.normal(size=N)
    members = [np.where(side > 0, y, y + noise), np.where(side > 0, y + noise, y), side]
    plan = StackPlan(prepared, Space(MEMBERS, TaskKind.REGRESSION), workers=2)
    configurations, seconds = plan.within(60)
    assert [one["learner"] for one in configurations] == ["linear", "lightgbm"]
    assert 0 < seconds < 60
    candidates = candidates_of(y, members)
    stackers = plan.fit(configurations, candidates, tmp_path / "stack", seconds=60, memory_mb=2048)
    assert [one.inputs for one in stackers] == [(10, 11, 12)] * 2
    alone = select("rmse", y, members).loss
    assert loss("rmse", y, stackers[1].prediction) < 0.9 * alone
    assert max(select("rmse", y, [*members, *(one.prediction for one in stackers)]).weights) >= 3


@pytest.mark.parametrize("kind", list(TaskKind))
def test_a_bundle_with_a_second_layer_predicts_what_selection_saw(
    kind: TaskKind, make_problem: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def half_and_half(metric: str, y: Any, predictions: list[Any], *rest: Any, **more: Any) -> Ensemble:
        return Ensemble({0: 0.5, len(predictions) - 1: 0.5}, 0.0 if len(predictions) > 8 else 1.0)

    monkeypatch.setattr(selection, "select", half_and_half)  # eight trials: what comes after them is a stacker
    problem = make_problem(kind, N)
    plan = Plan(algorithms=MEMBERS if kind.is_classification else ("linear", "lightgbm", "elastic_net"), cores=2)
    journal = FolderJournal(tmp_path, Budget(seconds=None, trials=8))
    result = fit(problem.table, problem.y, problem.task, plan, journal, tmp_path / "scratch")
    model = open_bundle(tmp_path / "model.zip")
    manifest = model.manifest
    assert manifest["stack"]
    assert sum(part["weight"] for part in [*manifest["members"], *manifest["stack"]]) == pytest.approx(1.0)
    assert sum(result.weights.values()) == pytest.approx(1.0)
    assert {member["trial"] for member in manifest["members"]} == set(result.weights)
    prediction = model.predict_columns(problem.table.columns)
    best = min(trial.loss for trial in result.trials if trial.loss is not None)
    assert loss(problem.task.metric, problem.y, prediction) < 1.1 * best
    rows = {name: values[:7] for name, values in problem.table.columns.items()}
    assert model.predict_columns(rows) == pytest.approx(prediction[:7], abs=1e-6)


@pytest.mark.parametrize(("rows", "scheme"), [(400, Scheme.AUTO), (N, Scheme.TIME)])
def test_few_rows_and_folds_in_time_have_no_second_layer(
    rows: int, scheme: Scheme, make_problem: Callable[..., Any], tmp_path: Path
) -> None:
    prepared = prepared_of(make_problem(TaskKind.BINARY, rows), tmp_path / "task", scheme=scheme)
    assert StackPlan(prepared, Space(MEMBERS, TaskKind.BINARY), workers=2).within(None) == ([], 0)


def test_only_what_was_included_is_used_and_only_what_can_be_done_in_time(
    make_problem: Callable[..., Any], tmp_path: Path
) -> None:
    prepared = prepared_of(make_problem(TaskKind.BINARY, N), tmp_path / "task")
    plan = StackPlan(prepared, Space(["naive_bayes", "linear"], TaskKind.BINARY), workers=2)
    assert [one["learner"] for one in plan.within(60)[0]] == ["linear"]
    assert plan.within(0.01) == ([], 0)
