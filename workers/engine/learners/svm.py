"""Support vector machine with a Gaussian kernel. Probabilities by Platt scaling on out-of-fold decisions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..preprocessing.options import encoder_space
from ..space import Float
from ..types import TaskKind
from .base import Array, FitContext, Learner, Size
from .wrap import Wrapped

_MOST_ROWS = 8000


class _Calibrated(Wrapped):
    """SVC inside CalibratedClassifierCV of two folds."""

    def _fit_inner(self, X: Array, y: Array, weight: Array | None, eval_set: Any) -> None:
        if self.context.n_classes and np.bincount(y).min() < 2:  # no fold could hold out a class of one row
            keep = np.bincount(y)[y] >= 2
            extra = np.flatnonzero(~keep)
            X, y = np.concatenate([X, X[extra]]), np.concatenate([y, y[extra]])
            weight = None if weight is None else np.concatenate([weight, weight[extra]])
        super()._fit_inner(X, y, weight, eval_set)


def _build(params: Mapping[str, Any], context: FitContext) -> Wrapped:
    from sklearn.calibration import CalibratedClassifierCV
    from sklearn.svm import SVC, SVR

    gamma = params["gamma"] / max(1, context.n_columns)

    def make(n_classes: int) -> Any:
        if not n_classes:
            return SVR(C=params["C"], gamma=gamma, epsilon=0.05, cache_size=200, max_iter=200_000)
        machine = SVC(C=params["C"], gamma=gamma, cache_size=200, max_iter=200_000)
        return CalibratedClassifierCV(machine, method="sigmoid", cv=2, ensemble=False, n_jobs=1)

    return _Calibrated(make, context)


def _declines(size: Size) -> str | None:
    return f"more than {_MOST_ROWS} rows make it slow" if size.rows > _MOST_ROWS else None


LEARNER = Learner(
    name="svm",
    kinds=frozenset(TaskKind),
    space=(
        Float(name="C", low=0.03, high=100.0, default=1.0, log=True),
        Float(name="gamma", low=0.03, high=10.0, default=1.0, log=True),
        *encoder_space(scaled=True, native_categories=False, native_missing=False),
    ),
    defaults=(
        {"C": 1.0, "gamma": 0.5},
        {"C": 10.0, "gamma": 0.2, "prep_scale": "quantile"},
        {"C": 3.0, "gamma": 0.3, "prep_columns": "products", "prep_paired": 6},
    ),
    build=_build,
    cost=lambda params, size: 0.02 + 1.2e-8 * size.rows**2 * (3.5 + 0.02 * size.columns) * (2 if size.classes else 1),
    declines=_declines,
)
