"""One proposal evaluated, or one configuration refitted. Runs inside a trial process.

Learners that stop early do so on a part of the training rows, never on the validation rows: what out-of-fold
predictions are measured on has then been seen by nothing that was fitted, and the score is honest at any size. The
final refit takes the mean number of rounds and all rows, so that the part held back costs nothing in the end.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..bundle.save import save_member
from ..catalog import get_learner
from ..learners.base import Estimator, FitContext, Learner
from ..preprocessing.fit import fit_encoder
from ..types import Configuration, Proposal, TrialStatus
from .metrics import all_metrics, loss
from .prepare import PreparedTask

Array = NDArray[Any]

_STOP_SHARE, _STOP_MOST = 0.15, 4000  # training rows that decide when to stop
_SAFETY = 0.9  # of the time left that a fit may plan with


@dataclass(kw_only=True)
class Outcome:
    """What the trial process reports; the pool makes a Trial of it."""

    status: TrialStatus
    loss: float | None = None
    fold_losses: list[float] = field(default_factory=list)
    metrics: dict[str, float] = field(default_factory=dict)
    best_iterations: list[int] = field(default_factory=list)
    timed: bool = False
    reason: str | None = None
    seconds: float = 0.0
    cpu_seconds: float = 0.0


class Deadline:
    """Seconds left for a trial; for ever when `seconds` is None."""

    def __init__(self, seconds: float | None) -> None:
        self._until = None if seconds is None else time.monotonic() + seconds

    def left(self) -> float | None:
        """Seconds, or None."""
        return None if self._until is None else self._until - time.monotonic()


def evaluate(
    prepared: PreparedTask, number: int, proposal: Proposal, folder: Path, *, threads: int, seconds: float | None
) -> Outcome:
    """Fit and predict fold by fold; write `oof.npy` and `fold_<i>/` into `folder`.

    When the time is nearly over, the folds done so far are the result, `stopped` and `timed`.
    """
    deadline = Deadline(seconds)
    task, splits = prepared.task, prepared.splits
    folds = splits.folds[: proposal.fidelity.folds]
    summed = np.zeros((len(prepared.y), max(1, prepared.n_classes)))
    counts = np.zeros(len(prepared.y))
    outcome = Outcome(status=TrialStatus.SUCCEEDED)
    longest = 0.0
    for place, (train, valid) in enumerate(folds):
        left = deadline.left()
        if left is not None and place and left < 1.2 * longest:
            outcome.status, outcome.timed = TrialStatus.STOPPED, True
            outcome.reason = f"time for {place} of {len(folds)} folds"
            break
        started = time.monotonic()
        rows = subsample(prepared, np.asarray(train), proposal.fidelity.rows)
        share = None if left is None else _SAFETY * left / (len(folds) - place)
        fitted = fit_rows(prepared, proposal.configuration, rows, threads=threads, seconds=share)
        prediction = predict(fitted.estimator, fitted.encoder.transform(prepared.rows(valid)), prepared.n_classes)
        save_member(folder / f"fold_{place}", fitted.encoder, fitted.estimator, task.kind, prepared.n_classes)
        summed[valid] += prediction
        counts[valid] += 1
        outcome.fold_losses.append(_loss(prepared, np.asarray(valid), prediction))
        outcome.best_iterations += fitted.iterations
        outcome.timed |= fitted.timed
        longest = max(longest, time.monotonic() - started)
    covered = np.flatnonzero(counts)
    oof = np.full(summed.shape, np.nan, dtype=np.float32)
    oof[covered] = summed[covered] / counts[covered, None]
    np.save(folder / "oof.npy", oof)
    prediction = oof[covered].astype(np.float64)
    outcome.loss = _loss(prepared, covered, prediction)
    weights = None if prepared.weights is None else prepared.weights[covered]
    outcome.metrics = all_metrics(task.kind, prepared.y[covered], _shaped(prediction, prepared.n_classes), weights)
    return outcome


def refit(
    prepared: PreparedTask,
    configuration: Configuration,
    iterations: int | None,
    folder: Path,
    *,
    threads: int,
    seconds: float | None,
) -> Outcome:
    """Fit on all rows, the holdout's too, for so many iterations; write the member `fold_0/` into `folder`."""
    rows = np.arange(len(prepared.y))
    fitted = fit_rows(prepared, configuration, rows, threads=threads, seconds=seconds, iterations=iterations)
    save_member(folder / "fold_0", fitted.encoder, fitted.estimator, prepared.task.kind, prepared.n_classes)
    return Outcome(status=TrialStatus.SUCCEEDED, best_iterations=fitted.iterations, timed=fitted.timed)


@dataclass(frozen=True)
class Fitted:
    """An encoder with the estimator behind it."""

    encoder: Any
    estimator: Estimator
    iterations: list[int]  #: one number, or none for learners without rounds
    timed: bool


def fit_rows(
    prepared: PreparedTask,
    configuration: Configuration,
    rows: Array,
    *,
    threads: int,
    seconds: float | None,
    iterations: int | None = None,
) -> Fitted:
    """Fit encoder and learner on these rows."""
    task, seed = prepared.task, prepared.task.seed
    learner = get_learner(configuration["learner"])
    y = np.asarray(prepared.y[rows])
    started = time.monotonic()
    encoder, X = fit_encoder(
        configuration, prepared.schema, prepared.rows(rows), y, task.kind, prepared.n_classes, seed
    )
    weights = None if prepared.weights is None else np.asarray(prepared.weights[rows])
    fit_part, stop_part = _stop_split(prepared, learner, rows, y, iterations)
    context = FitContext(
        kind=task.kind,
        n_classes=prepared.n_classes,
        n_rows=len(fit_part),
        n_columns=X.shape[1],
        categorical=tuple(encoder.categorical),
        threads=threads,
        seed=seed,
        seconds=None if seconds is None else max(0.05, seconds - (time.monotonic() - started)),
        iterations=iterations,
    )
    estimator = learner.build(_own_parameters(learner, configuration), context)
    estimator.fit(
        X[fit_part],
        y[fit_part],
        sample_weight=None if weights is None else weights[fit_part],
        eval_set=None if stop_part is None else (X[stop_part], y[stop_part]),
    )
    best = getattr(estimator, "best_iteration_", None)
    return Fitted(encoder, estimator, [] if best is None else [int(best)], bool(getattr(estimator, "timed_", False)))


def predict(estimator: Any, X: Array, n_classes: int) -> Array:
    """(n, n_classes) probabilities or (n, 1) values, float64.

    Raises:
        ValueError: something is not finite.
    """
    raw = estimator.predict_proba(X) if n_classes else np.asarray(estimator.predict(X)).reshape(-1, 1)
    prediction = np.asarray(raw, dtype=np.float64)
    if not np.isfinite(prediction).all():
        raise ValueError("predictions are not finite")
    return prediction


def subsample(prepared: PreparedTask, rows: Array, share: float) -> Array:
    """A share of the rows, the same for every configuration, each class kept in proportion; at least 10."""
    if share >= 1.0:
        return rows
    rng = np.random.default_rng(prepared.task.seed)
    order = rng.permutation(len(rows))
    if prepared.n_classes:
        order = order[np.argsort(np.asarray(prepared.y[rows])[order], kind="stable")]
    wanted = min(len(rows), max(10, round(share * len(rows))))
    return np.sort(rows[order[np.floor((np.arange(wanted) + 0.5) * len(rows) / wanted).astype(np.int64)]])


def _stop_split(
    prepared: PreparedTask, learner: Learner, rows: Array, y: Array, iterations: int | None
) -> tuple[Array, Array | None]:
    """Places to fit on, and places that decide when to stop (None: nothing does)."""
    places = np.arange(len(rows))
    if not learner.stops_early or iterations is not None or len(rows) < 20:
        return places, None
    rng = np.random.default_rng(prepared.task.seed + 1)
    order = rng.permutation(places)
    if prepared.n_classes:
        order = order[np.argsort(y[order], kind="stable")]
    wanted = min(_STOP_MOST, max(8, round(_STOP_SHARE * len(rows))))
    stop = order[np.floor((np.arange(wanted) + 0.5) * len(rows) / wanted).astype(np.int64)]
    return np.setdiff1d(places, stop), np.sort(stop)


def _own_parameters(learner: Learner, configuration: Configuration) -> Mapping[str, Any]:
    return {name: value for name, value in configuration.items() if name != "learner"}


def _loss(prepared: PreparedTask, rows: Array, prediction: Array) -> float:
    weights = None if prepared.weights is None else np.asarray(prepared.weights[rows])
    return loss(prepared.task.metric, prepared.y[rows], _shaped(prediction, prepared.n_classes), weights)


def _shaped(prediction: Array, n_classes: int) -> Array:
    return prediction if n_classes else prediction[:, 0]


def write_outcome(outcome: Outcome, folder: Path) -> None:
    """Leave the report where the pool looks for it, whole or not at all."""
    temporary = folder / "outcome.partial"
    temporary.write_text(json.dumps(vars(outcome)))
    temporary.replace(folder / "outcome.json")
