"""CatBoost: ordered boosting of symmetric trees (Prokhorenkova et al. 2018)."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from ..bundle.runtime.members import catboost_rows
from ..preprocessing.options import encoder_space
from ..space import Choice, Float, Int
from ..types import TaskKind
from .base import ABSOLUTE, Array, FitContext, Learner, Size
from .wrap import Wrapped

_MOST_ROUNDS = 2000


class _Boosted(Wrapped):
    def __init__(self, params: Mapping[str, Any], context: FitContext) -> None:
        super().__init__(lambda n_classes: _objective(n_classes, context.metric), context)
        self.params = params

    def _fit_inner(self, X: Array, y: Array, weight: Array | None, eval_set: Any) -> None:
        import catboost

        context = self.context
        stops = context.iterations is None and eval_set is not None
        deadline = _Deadline(context.seconds)
        pool = self._pool(X, y, weight)
        self.inner_ = catboost.CatBoost(self.inner_ | self._library_params(stops))
        self.inner_.fit(
            pool,
            eval_set=self._pool(*eval_set) if stops else None,
            callbacks=None if context.seconds is None else [deadline],
        )
        self.timed_ = deadline.hit
        self.best_iteration_ = int(self.inner_.tree_count_)

    def _pool(self, X: Array, y: Array, weight: Array | None = None) -> Any:
        import catboost

        categorical = list(self.context.categorical)
        return catboost.Pool(
            catboost_rows(X, categorical), y, weight=weight, cat_features=categorical, thread_count=self.context.threads
        )

    def _library_params(self, stops: bool) -> dict[str, Any]:
        params, context = self.params, self.context
        size = Size(rows=context.n_rows, columns=context.n_columns, classes=context.n_classes)
        rounds = context.iterations or (_MOST_ROUNDS if stops else params["iterations"])
        if context.seconds is not None and context.iterations is None:
            per_round = _seconds_per_round(params, size, bool(context.categorical))
            rounds = max(20, min(rounds, int(context.seconds / per_round)))
        patience = max(20, min(100, round(4 / params["learning_rate"])))
        return {
            "iterations": rounds,
            "learning_rate": params["learning_rate"],
            "depth": params["depth"],
            "l2_leaf_reg": params["l2_leaf_reg"],
            "random_strength": params["random_strength"],
            "rsm": params["rsm"] if context.n_columns > 1 else 1.0,
            "one_hot_max_size": params["one_hot_max_size"],
            "max_ctr_complexity": 1 if context.n_rows > 20_000 else 2,
            **({"od_type": "Iter", "od_wait": patience, "use_best_model": True} if stops else {}),
            "random_seed": context.seed,
            "thread_count": context.threads,
            "allow_writing_files": False,
            "verbose": False,
            "border_count": params["border_count"],
        }

    def _raw(self, X: Array) -> Any:
        rows = catboost_rows(X, list(self.context.categorical))
        kind = "Probability" if self.context.n_classes else "RawFormulaVal"
        return self.inner_.predict(rows, prediction_type=kind, thread_count=self.context.threads)

    def _model(self) -> tuple[str, Any, dict[str, Any]]:
        return "catboost", self.inner_, {}


class _Deadline:
    """Stops the rounds when the time is over; what has been learned stays."""

    def __init__(self, seconds: float | None) -> None:
        self.until = None if seconds is None else time.monotonic() + seconds
        self.hit = False

    def after_iteration(self, info: Any) -> bool:
        """Whether to go on."""
        self.hit = self.until is not None and time.monotonic() > self.until
        return not self.hit


def _objective(n_classes: int, metric: str) -> dict[str, Any]:
    if n_classes == 0:
        return {"loss_function": "MAE" if metric in ABSOLUTE else "RMSE"}
    if n_classes == 2:
        return {"loss_function": "Logloss"}
    return {"loss_function": "MultiClass", "classes_count": n_classes}


def _seconds_per_round(params: Mapping[str, Any], size: Size, native: bool) -> float:
    """Native categories cost target statistics: more a row, much more a leaf and class."""
    outputs = size.classes if size.classes > 2 else 1
    leaf = 7e-6 if native else 2e-7
    per_row = 1.1e-9 * size.columns * params["rsm"] * params["depth"] * (1 + 0.4 * outputs) + 6e-8 * outputs
    per_row *= 2.0 if native else 1.0
    return float(3e-4 + 2e-6 * size.columns + size.rows * per_row + leaf * 2 ** params["depth"] * outputs)


def _cost(params: Mapping[str, Any], size: Size) -> float:
    rounds: float = min(_MOST_ROUNDS, 40 / params["learning_rate"] ** 0.9)
    native = params["prep_category"] in ("native", "native_target")
    return float(0.1 + rounds * _seconds_per_round(params, size, native))


def _build(params: Mapping[str, Any], context: FitContext) -> _Boosted:
    return _Boosted(params, context)


LEARNER = Learner(
    name="catboost",
    kinds=frozenset(TaskKind),
    space=(
        Float(name="learning_rate", low=0.02, high=0.3, default=0.08, log=True),
        Int(name="iterations", low=50, high=1000, default=300, log=True),
        Int(name="depth", low=3, high=9, default=6),
        Float(name="l2_leaf_reg", low=0.5, high=50.0, default=3.0, log=True),
        Float(name="random_strength", low=0.1, high=10.0, default=1.0, log=True),
        Float(name="rsm", low=0.3, high=1.0, default=1.0),
        Choice(name="one_hot_max_size", options=(2, 10, 25), default=2),
        Choice(name="border_count", options=(64, 254, 1024), default=254),
        *encoder_space(scaled=False, native_categories=True, native_missing=True),
    ),
    defaults=(
        {"learning_rate": 0.08, "depth": 6},
        {"learning_rate": 0.08, "depth": 5, "rsm": 0.6, "prep_category": "target"},
        {"learning_rate": 0.05, "depth": 4, "rsm": 0.5, "l2_leaf_reg": 5.0, "prep_category": "target"},
        {"learning_rate": 0.05, "depth": 8, "l2_leaf_reg": 5.0, "rsm": 0.7, "prep_category": "native"},
        {"learning_rate": 0.3, "depth": 5, "rsm": 0.5, "border_count": 64, "prep_category": "target"},
        {"learning_rate": 0.08, "depth": 6, "target_transform": "log"},
    ),
    build=_build,
    cost=_cost,
    handles_missing=True,
    stops_early=True,
)
