"""One wrapper for every library's estimator: absent classes, target units, and what a bundle keeps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..bundle.export import MemberExport
from ..bundle.runtime.members import in_target_unit
from .base import LOGARITHMIC, MEANS, Array, FitContext

#: makes the library's estimator, given how many classes the training rows have (0 in regression)
Make = Callable[[int], Any]

_MOST_SMEARED = 3.0  # the mean by what logarithms say


class Wrapped:
    """A library's estimator in the engine's terms.

    In classification the library sees classes 0..m-1 of those present; `predict_proba` is (n, n_classes) again. In
    regression it sees the target, or for the metric rmsle its logarithm, with mean 0 and deviation 1. One class, a
    constant target, or columns that never vary need no estimator: `answer_` is then the answer to every row.

    Args:
        make: the library's estimator.
        context: of the fit.
        weighted: whether the library takes sample weights; where it does not, rows are resampled by weight.
    """

    def __init__(self, make: Make, context: FitContext, *, weighted: bool = True) -> None:
        self.inner_: Any = None
        self.answer_: Array | None = None
        self.log_most_: float | None = None
        self.smear_: float | None = None  #: of a logarithmic target: the mean by what logarithms say
        self.make = make
        self.context = context
        self.weighted = weighted

    def fit(self, X: Array, y: Array, sample_weight: Array | None = None, eval_set: Any = None) -> Wrapped:
        """Fit on (n, columns) and (n,); see base.Estimator."""
        if sample_weight is not None and not self.weighted:
            X, y, sample_weight = _resample(X, y, sample_weight, self.context.seed)
        local = self._localise(y, sample_weight)
        self.answer_ = self._answer(y, sample_weight) if self._is_constant(X) else None
        self.inner_ = None
        if self.answer_ is None:
            self.inner_ = self.make(len(self.classes_) if self.context.n_classes else 0)
            self._fit_inner(X, local, sample_weight, self._local_eval(eval_set))
            if self.log_most_ is not None and self.context.metric in MEANS:
                self.smear_ = self.context.smear or self._smear(*(eval_set or (X, y, sample_weight)))
                self.shift_ += np.log(self.smear_)
        return self

    def predict(self, X: Array) -> Array:
        """(n,) values, or class indices."""
        if self.context.n_classes:
            return np.asarray(self.predict_proba(X).argmax(axis=1))
        if self.answer_ is not None:
            return np.full(len(X), self.answer_[0])
        raw = np.asarray(self._raw(X), dtype=np.float64).reshape(len(X))
        return in_target_unit(raw, self.shift_, self.scale_, self.log_most_)

    def predict_proba(self, X: Array) -> Array:
        """(n, n_classes), rows sum to 1."""
        if self.answer_ is not None:
            return np.tile(self.answer_, (len(X), 1))
        out = np.zeros((len(X), self.context.n_classes))
        raw = np.asarray(self._raw(X), dtype=np.float64)
        out[:, self.classes_] = np.stack([1 - raw, raw], axis=1) if raw.ndim == 1 else raw
        return out

    def export_member(self) -> MemberExport:
        """What a bundle keeps."""
        if self.answer_ is not None:
            return MemberExport(format="constant", model=self.answer_)
        format_, model, options = self._model()
        if self.context.n_classes:
            return MemberExport(format=format_, model=model, classes=tuple(map(int, self.classes_)), options=options)
        return MemberExport(
            format=format_,
            model=model,
            shift=self.shift_,
            scale=self.scale_,
            log_most=self.log_most_,
            options=options,
        )

    def _fit_inner(self, X: Array, y: Array, weight: Array | None, eval_set: Any) -> None:
        if weight is None:
            self.inner_.fit(X, y)
        else:
            self.inner_.fit(X, y, sample_weight=weight)

    def _raw(self, X: Array) -> Any:
        return self.inner_.predict_proba(X) if self.context.n_classes else self.inner_.predict(X)

    def _model(self) -> tuple[str, Any, dict[str, Any]]:
        return "sklearn", self.inner_, {}

    def _is_constant(self, X: Array) -> bool:
        """Whether the training rows leave nothing to learn."""
        if len(self.classes_) == 1 if self.context.n_classes else self.scale_ == 0.0:
            return True
        return all(bool(((column == column[0]) | (np.isnan(column) & np.isnan(column[0]))).all()) for column in X.T)

    def _answer(self, y: Any, weight: Array | None) -> Array:
        """Weighted frequencies of all classes, or the mean."""
        if self.context.metric in MEANS:
            return np.array([np.average(y, weights=weight)])
        if not self.context.n_classes:
            return in_target_unit(np.zeros(1), self.shift_, self.scale_, self.log_most_)
        counts = np.bincount(y, weights=weight, minlength=self.context.n_classes)
        return np.asarray(counts / counts.sum())

    def _localise(self, y: Array, weight: Array | None) -> Any:
        if self.context.n_classes:
            self.classes_ = np.unique(y)
            return np.searchsorted(self.classes_, y)
        is_log = self.context.log_target or self.context.metric in LOGARITHMIC
        self.log_most_ = float(np.log1p(y).max()) if is_log else None
        y = self._target(y)
        self.shift_ = float(np.average(y, weights=weight))
        self.scale_ = float(np.sqrt(np.average((y - self.shift_) ** 2, weights=weight)))
        if self.scale_ < 1e-12 * max(1.0, abs(self.shift_)):
            self.scale_ = 0.0
        return (y - self.shift_) / (self.scale_ or 1.0)

    def _target(self, y: Array) -> Array:
        """What the library is to learn: the target, or the logarithm of it plus one where the metric asks for that."""
        return y if self.log_most_ is None else np.log1p(y)

    def _smear(self, X: Array, y: Array, weight: Array | None = None) -> float:
        """What is right on the mean of logarithms is too low for the mean: the factor by which, by least squares.

        Duan's smearing (1983) with the weights that a squared error gives. On rows that were learned from it is
        flattered: learners with rows to watch use these, and refits what the folds have found.
        """
        said, true = self.predict(X) + 1.0, y + 1.0
        weight = np.ones(len(y)) if weight is None or not weight.any() else weight
        factor = float((weight * said * true).sum() / (weight * said**2).sum())
        return min(max(factor, 1 / _MOST_SMEARED), _MOST_SMEARED)

    def _local_eval(self, eval_set: Any) -> Any:
        if eval_set is None:
            return None
        X, y, weight = eval_set
        if not self.context.n_classes:
            return X, (self._target(y) - self.shift_) / (self.scale_ or 1.0), weight
        known = np.isin(y, self.classes_)
        if not known.any():
            return None
        return X[known], np.searchsorted(self.classes_, y[known]), None if weight is None else weight[known]


def _resample(X: Array, y: Array, weight: Array, seed: int) -> tuple[Array, Array, None]:
    """As many rows, each as often as its weight says (systematic resampling, so that little is left to chance)."""
    edges = np.cumsum(weight) / weight.sum()
    points = (np.arange(len(y)) + np.random.default_rng(seed).random()) / len(y)
    rows = np.minimum(np.searchsorted(edges, points), len(y) - 1)
    return X[rows], y[rows], None
