"""Linear models: logistic regression and ridge; with an L1 part as elastic net."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

from ..preprocessing.options import encoder_space
from ..space import Float
from ..types import TaskKind
from .base import Array, FitContext, Learner, Size
from .wrap import Wrapped

_ENCODER = encoder_space(scaled=True, native_categories=False, native_missing=False)
_EPOCHS = 100
_C = Float(name="C", low=1e-4, high=1e3, default=1.0, log=True)


def _build(params: Mapping[str, Any], context: FitContext) -> Wrapped:
    from sklearn.linear_model import LogisticRegression, Ridge

    def make(n_classes: int) -> Any:
        if not n_classes:
            return Ridge(alpha=1.0 / params["C"], solver="cholesky" if context.n_columns < 2000 else "lsqr")
        solver = "newton-cholesky" if context.n_columns * n_classes <= 300 else "lbfgs"
        return LogisticRegression(C=params["C"], solver=solver, max_iter=200)

    return _Unwarned(make, context)


def _build_elastic_net(params: Mapping[str, Any], context: FitContext) -> Wrapped:
    from sklearn.linear_model import ElasticNet, LogisticRegression

    def make(n_classes: int) -> Any:
        alpha, ratio, seed = params["alpha"], params["l1_ratio"], context.seed
        if not n_classes:
            return ElasticNet(alpha=alpha, l1_ratio=ratio, max_iter=2000, tol=1e-3, random_state=seed)
        C = 1.0 / (alpha * context.n_rows)
        return LogisticRegression(C=C, l1_ratio=ratio, solver="saga", max_iter=_EPOCHS, tol=2e-3, random_state=seed)

    return _Unwarned(make, context)


class _Unwarned(Wrapped):
    """Epochs are a budget here: not to have converged is no news."""

    def _fit_inner(self, X: Array, y: Array, weight: Array | None, eval_set: Any) -> None:
        from sklearn.exceptions import ConvergenceWarning

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            super()._fit_inner(X, y, weight, eval_set)


def _cost(params: Mapping[str, Any], size: Size) -> float:
    cells = size.rows * size.columns
    if not size.classes:
        return 0.003 + cells * (4e-9 + 6e-11 * size.columns)
    return 0.004 + cells * (2e-8 if size.classes == 2 else 4e-8 * size.classes)


def _elastic_net_cost(params: Mapping[str, Any], size: Size) -> float:
    cells = size.rows * (size.columns + 10)
    return 0.004 + cells * (2e-8 if not size.classes else 1.3e-7 if size.classes == 2 else 5e-8 * size.classes)


LEARNER = Learner(
    name="linear",
    kinds=frozenset(TaskKind),
    space=(_C, *_ENCODER),
    defaults=(
        {"C": 0.3, "prep_category": "onehot"},
        {"C": 1.0, "prep_category": "target", "prep_scale": "quantile"},
        {"C": 0.1, "prep_category": "onehot", "prep_columns": "products"},
    ),
    build=_build,
    cost=_cost,
)

ELASTIC_NET = Learner(
    name="elastic_net",
    kinds=frozenset(TaskKind),
    space=(
        Float(name="alpha", low=1e-5, high=1.0, default=1e-3, log=True),
        Float(name="l1_ratio", low=0.05, high=1.0, default=0.5),
        *_ENCODER,
    ),
    defaults=({"alpha": 0.003, "l1_ratio": 0.5}, {"alpha": 0.02, "l1_ratio": 0.9, "prep_columns": "products"}),
    build=_build_elastic_net,
    cost=_elastic_net_cost,
)
