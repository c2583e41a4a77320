"""One trial, in this process: what it may see, what it leaves, what it reports."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from workers.engine import catalog
from workers.engine.bundle.runtime.members import load_member
from workers.engine.evaluation import trial as trial_module
from workers.engine.evaluation.metrics import score
from workers.engine.evaluation.prepare import PreparedTask, prepare
from workers.engine.evaluation.splits import make_splits
from workers.engine.evaluation.trial import evaluate, fit_rows, refit, salvage
from workers.engine.learners.base import FitContext
from workers.engine.learners.dummy import LEARNER as DUMMY
from workers.engine.learners.dummy import Dummy
from workers.engine.space import Space
from workers.engine.types import Fidelity, Proposal, Scheme, TaskKind, TrialStatus

Prepare = Callable[..., PreparedTask]


@pytest.fixture
def prepared(make_problem: Callable[..., Any], tmp_path: Path) -> Prepare:
    """Makes a prepared task; keywords go to the splits, the weights and the task."""

    def make(
        kind: TaskKind = TaskKind.BINARY,
        rows: int = 100,
        *,
        groups: Any = None,
        times: Any = None,
        weights: Any = None,
        task: Mapping[str, Any] | None = None,
        **validation: Any,
    ) -> PreparedTask:
        problem = make_problem(kind, rows, **validation)
        asked = replace(problem.task, **(task or {}))
        splits = make_splits(asked, problem.y, groups, times)
        return prepare(tmp_path / "task", problem.table, problem.y, weights, asked, splits)

    return make


class Spy(Dummy):
    """Remembers what it was given to fit."""

    seen: list[dict[str, Any]] = []
    rounds = 7

    def __init__(self, context: FitContext) -> None:
        super().__init__(context)
        self.context = context
        self.timed_ = False

    def fit(self, X: Any, y: Any, sample_weight: Any = None, eval_set: Any = None) -> Dummy:
        self.seen.append({"X": X, "y": y, "weight": sample_weight, "eval_set": eval_set, "context": self.context})
        self.best_iteration_ = self.context.iterations or self.rounds
        return super().fit(X, y, sample_weight)


SPY = replace(DUMMY, name="spy", build=lambda params, context: Spy(context), stops_early=True, space=())
SPIED = Proposal(configuration={"learner": "spy"})


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The fits of learner `spy`."""
    monkeypatch.setattr(trial_module, "get_learner", lambda name: SPY if name == "spy" else catalog.get_learner(name))
    Spy.seen = []
    return Spy.seen


def test_early_stopping_watches_training_rows_only_and_small_tables_are_fitted_again(
    prepared: Prepare, seen: list[dict[str, Any]], tmp_path: Path
) -> None:
    task = prepared(rows=100, scheme=Scheme.KFOLD, folds=4)
    outcome = evaluate(task, SPIED, tmp_path, threads=1, seconds=None)
    assert len(seen) == 8
    for first, again in zip(seen[::2], seen[1::2], strict=True):
        fitted, watched = first["X"], first["eval_set"][0]
        assert (len(fitted), len(watched)) == (64, 11)
        assert not {row.tobytes() for row in fitted} & {row.tobytes() for row in watched}
        assert again["eval_set"] is None
        assert (len(again["X"]), again["context"].iterations) == (75, 7)
    assert outcome.best_iterations == [7] * 4


@pytest.mark.parametrize("scheme", [Scheme.GROUP, Scheme.TIME])
def test_the_watched_rows_keep_the_rules_of_the_scheme(scheme: Scheme, prepared: Prepare) -> None:
    owners, rows = np.arange(200) % 25, np.arange(150)
    kept = {"groups": owners} if scheme is Scheme.GROUP else {"times": np.arange(200.0)[::-1]}
    task = prepared(rows=200, scheme=scheme, folds=4, **kept)
    fit, watch = trial_module._stop_split(task, SPY, rows, np.asarray(task.y[rows]), None)
    assert watch is not None
    assert sorted([*fit, *watch]) == list(range(150))
    if scheme is Scheme.GROUP:
        assert not set(owners[rows[fit]]) & set(owners[rows[watch]])
    else:
        assert kept["times"][rows[fit]].max() < kept["times"][rows[watch]].min()


def test_class_weights_weigh_in_training_and_row_weights_also_in_the_score(
    prepared: Prepare, seen: list[dict[str, Any]], tmp_path: Path
) -> None:
    weights = np.where(np.arange(100) < 50, 1.0, 3.0)
    task = prepared(weights=weights, task={"class_weight": {"class 1": 5.0}, "metric": "accuracy"}, scheme=Scheme.KFOLD)
    outcome = evaluate(task, SPIED, tmp_path, threads=1, seconds=None)
    train = task.splits.folds[0][0]
    expected = weights[train] * np.where(task.y[train] == 1, 5.0, 1.0)
    given = seen[1]["weight"]
    assert given / given.mean() == pytest.approx(expected / expected.mean())
    oof = np.load(tmp_path / "oof.npy")
    assert outcome.loss == pytest.approx(1 - score("accuracy", np.asarray(task.y), oof, weights))


@pytest.mark.parametrize("kind", list(TaskKind))
def test_stored_predictions_have_the_reported_loss_and_fold_models_make_them(
    kind: TaskKind, prepared: Prepare, tmp_path: Path
) -> None:
    task = prepared(kind, 90, scheme=Scheme.KFOLD, folds=3)
    learner = "linear" if kind.is_classification else "elastic_net"
    configuration = {"learner": learner} | dict(catalog.get_learner(learner).defaults[0])
    space = {hyperparameter.name: hyperparameter.default for hyperparameter in catalog.get_learner(learner).space}
    outcome = evaluate(task, Proposal(configuration=space | configuration), tmp_path, threads=1, seconds=None)
    oof = np.load(tmp_path / "oof.npy")
    assert oof.shape == (90, max(1, task.n_classes))
    assert outcome.status is TrialStatus.SUCCEEDED
    assert outcome.metrics[task.task.metric] == pytest.approx(
        1 - (outcome.loss or 0) if kind is TaskKind.BINARY else outcome.loss
    )
    for place, (_, valid) in enumerate(task.splits.folds):
        again = load_member(tmp_path / f"fold_{place}").predict_columns(task.rows(valid))
        assert again.reshape(oof[valid].shape) == pytest.approx(oof[valid], abs=1e-5)


def test_repeated_folds_are_averaged_and_uncovered_rows_are_marked(prepared: Prepare, tmp_path: Path) -> None:
    task = prepared(rows=60)
    dummy = {"learner": "dummy"}
    evaluate(task, Proposal(configuration=dummy, fidelity=Fidelity(folds=2)), tmp_path, threads=1, seconds=None)
    covered = np.concatenate([valid for _, valid in task.splits.folds[:2]])
    oof = np.load(tmp_path / "oof.npy")
    assert set(np.flatnonzero(~np.isnan(oof[:, 0]))) == set(covered)
    evaluate(task, Proposal(configuration=dummy), tmp_path, threads=1, seconds=None)
    assert np.load(tmp_path / "oof.npy").sum(axis=1) == pytest.approx(np.ones(60))


def test_low_fidelity_takes_some_rows_of_every_class(
    prepared: Prepare, seen: list[dict[str, Any]], tmp_path: Path
) -> None:
    task = prepared(TaskKind.MULTICLASS, 120, scheme=Scheme.KFOLD, folds=3)
    evaluate(task, replace(SPIED, fidelity=Fidelity(rows=0.5)), tmp_path, threads=1, seconds=None)
    assert len(seen[1]["y"]) == 40
    assert np.bincount(seen[1]["y"]).min() >= 12


def test_a_refit_sees_every_row_for_the_rounds_given(
    prepared: Prepare, seen: list[dict[str, Any]], tmp_path: Path
) -> None:
    task = prepared(rows=100, holdout=0.2)
    refit(task, SPIED.configuration, 12, None, tmp_path, threads=1, seconds=None)
    assert [(len(fit["y"]), fit["eval_set"], fit["context"].iterations) for fit in seen] == [(100, None, 12)]
    assert load_member(tmp_path / "fold_0").predict_columns(task.rows(np.arange(5))).shape == (5, 2)


def test_a_killed_trial_is_salvaged_with_the_folds_it_did(
    prepared: Prepare, seen: list[dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = prepared(rows=100, scheme=Scheme.KFOLD, folds=4)
    assert salvage(task, tmp_path) is None

    def interrupted(*args: Any, **options: Any) -> Any:
        if len(seen) >= 4:
            (tmp_path / "fold_2").mkdir()
            raise KeyboardInterrupt
        return fit_rows(*args, **options)

    fit_rows = trial_module.fit_rows
    monkeypatch.setattr(trial_module, "fit_rows", interrupted)
    with pytest.raises(KeyboardInterrupt):
        evaluate(task, SPIED, tmp_path, threads=1, seconds=60)
    outcome = salvage(task, tmp_path)
    assert outcome is not None
    assert (outcome.status, outcome.timed, len(outcome.fold_losses)) == (TrialStatus.STOPPED, True, 2)
    assert outcome.reason == "time for 2 of 4 folds"
    assert sorted(path.name for path in tmp_path.glob("fold_*")) == ["fold_0", "fold_1"]
    assert np.isfinite(np.load(tmp_path / "oof.npy")[:, 0]).sum() == 50
    json.dumps(vars(outcome), allow_nan=False)


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_predictions_that_are_not_finite_fail_the_trial(
    wrong: float, prepared: Prepare, seen: list[dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Spy, "predict_proba", lambda self, X: np.full((len(X), 2), wrong))
    with pytest.raises(ValueError, match="not finite"):
        evaluate(prepared(), SPIED, tmp_path, threads=1, seconds=None)


def test_prepared_arrays_are_shared_maps(prepared: Prepare) -> None:
    task = prepared(rows=100, weights=np.ones(100))
    for array in (task.y, task.weights, task.splits.folds[0][0]):
        assert isinstance(array, np.memmap)
        assert not array.flags.writeable
    assert not task.columns["size"].flags.owndata
    assert task.task.classes == ("class 0", "class 1")


def log_of(name: str, **given: Any) -> Proposal:
    return Proposal(
        configuration=Space([name], TaskKind.REGRESSION).complete(name, {"target_transform": "log", **given})
    )


def make_folder(parent: Path, number: int) -> Path:
    folder = parent / str(number)
    folder.mkdir()
    return folder


def positive(prepared: PreparedTask) -> PreparedTask:
    """The same task with a target that is nowhere negative."""
    return replace(prepared, y=np.exp(prepared.y))


def test_a_target_that_can_be_negative_has_no_logarithm(prepared: Prepare, tmp_path: Path) -> None:
    task = prepared(TaskKind.REGRESSION, 60, folds=3)
    plain = Proposal(configuration={**log_of("linear").configuration, "target_transform": "none"})
    for number, proposal in enumerate((log_of("linear"), plain)):
        outcome = evaluate(task, proposal, make_folder(tmp_path, number), threads=1, seconds=None)
        assert outcome.smears == []
    one, other = (np.load(tmp_path / str(number) / "oof.npy") for number in (0, 1))
    np.testing.assert_array_equal(one, other)


def test_what_the_rows_that_were_watched_say_of_the_mean_is_kept_for_later_fits(
    prepared: Prepare, tmp_path: Path
) -> None:
    task, proposal = positive(prepared(TaskKind.REGRESSION, 200, folds=3)), log_of("lightgbm", n_estimators=20)
    outcome = evaluate(task, proposal, make_folder(tmp_path, 0), threads=1, seconds=None)
    assert len(outcome.smears) == 3
    rows = np.arange(len(task.y))
    shared: dict[str, Any] = {"threads": 1, "seconds": None, "iterations": 5}
    plain, double = (fit_rows(task, proposal.configuration, rows, smear=smear, **shared) for smear in (1.0, 2.0))
    X = plain.encoder.transform(task.rows(rows))
    once, twice = (1 + one.estimator.predict(X) for one in (plain, double))
    assert (twice <= 2 * once + 1e-6).all()  # less where the largest target is in the way
    assert np.median(twice / once) == pytest.approx(2.0)


def test_rows_that_say_nothing_get_the_mean_also_where_logarithms_are_learned(
    prepared: Prepare, tmp_path: Path
) -> None:
    task = positive(prepared(TaskKind.REGRESSION, 60, folds=3))
    blank = replace(task, columns={name: np.zeros_like(values) for name, values in task.columns.items()})
    fitted = fit_rows(blank, log_of("linear").configuration, np.arange(60), threads=1, seconds=None)
    assert fitted.estimator.predict(np.zeros((1, 1))) == pytest.approx(task.y.mean())
