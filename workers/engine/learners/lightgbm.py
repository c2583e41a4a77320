"""LightGBM: gradient boosted trees grown leaf by leaf (Ke et al. 2017)."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from ..preprocessing.options import encoder_space
from ..space import Choice, Float, Int
from ..types import TaskKind
from .base import ABSOLUTE, Array, FitContext, Learner, Size
from .wrap import Wrapped

_MOST_ROUNDS = 3000


class _Boosted(Wrapped):
    """A Booster trained by `lightgbm.train`."""

    def __init__(self, params: Mapping[str, Any], context: FitContext) -> None:
        super().__init__(lambda n_classes: _objective(n_classes, context.metric), context)
        self.params = params

    def _fit_inner(self, X: Array, y: Array, weight: Array | None, eval_set: Any) -> None:
        import lightgbm

        context = self.context
        shared: dict[str, Any] = {"categorical_feature": list(context.categorical) or "auto", "free_raw_data": False}
        options = _library_params(self.params, context, len(y)) | self.inner_
        data = lightgbm.Dataset(X, y, weight=weight, **shared)
        rounds = context.iterations or self.params["n_estimators"]
        callbacks: list[Any] = []
        valid = []
        if context.iterations is None and eval_set is not None:
            rounds = _MOST_ROUNDS
            valid = [data.create_valid(eval_set[0], eval_set[1], weight=eval_set[2])]
            patience = max(20, round(4 / self.params["learning_rate"]))
            callbacks.append(lightgbm.early_stopping(min(patience, 150), verbose=False))
        if context.seconds is not None:
            callbacks.append(_Deadline(context.seconds))
        self.timed_ = False
        self.inner_ = lightgbm.train(options, data, rounds, valid_sets=valid, callbacks=callbacks)
        self.timed_ = any(isinstance(callback, _Deadline) and callback.hit for callback in callbacks)
        best = self.inner_.best_iteration
        self.best_iteration_ = best if best > 0 else self.inner_.current_iteration()

    def _raw(self, X: Array) -> Any:
        return self.inner_.predict(X, num_threads=self.context.threads)

    def _model(self) -> tuple[str, Any, dict[str, Any]]:
        return "lightgbm", self.inner_, {}


class _Deadline:
    """Stops the rounds when the time is over; what has been learned stays."""

    order = 40
    before_iteration = False

    def __init__(self, seconds: float) -> None:
        self.until = time.monotonic() + seconds
        self.hit = False

    def __call__(self, env: Any) -> None:
        if time.monotonic() > self.until:
            import lightgbm

            self.hit = True
            raise lightgbm.callback.EarlyStopException(env.iteration, env.evaluation_result_list)


def _objective(n_classes: int, metric: str) -> dict[str, Any]:
    if n_classes == 0:
        norm = "l1" if metric in ABSOLUTE else "l2"
        return {"objective": f"regression_{norm}", "metric": norm}
    if n_classes == 2:
        return {"objective": "binary", "metric": "binary_logloss"}
    return {"objective": "multiclass", "metric": "multi_logloss", "num_class": n_classes}


def _library_params(params: Mapping[str, Any], context: FitContext, n: int) -> dict[str, Any]:
    return {
        "learning_rate": params["learning_rate"],
        "num_leaves": params["num_leaves"],
        "min_data_in_leaf": min(params["min_data_in_leaf"], max(1, n // 10)),
        "feature_fraction": params["feature_fraction"],
        "bagging_fraction": params["bagging_fraction"],
        "bagging_freq": 1 if params["bagging_fraction"] < 1 else 0,
        "lambda_l2": params["lambda_l2"],
        "lambda_l1": 0.0,
        "extra_trees": params["extra_trees"],
        "max_bin": 255,
        "min_data_per_group": 10,
        "cat_smooth": params.get("cat_smooth", 10.0),
        "max_cat_threshold": 64,
        "feature_pre_filter": False,
        "seed": context.seed,
        "deterministic": True,
        "force_row_wise": True,
        "num_threads": context.threads,
        "verbosity": -1,
    }


def _cost(params: Mapping[str, Any], size: Size) -> float:
    rounds = 60 / params["learning_rate"] ** 0.8 / 3
    trees = max(1, size.classes if size.classes > 2 else 1)
    per_round = 2e-5 * params["num_leaves"] ** 0.8 + 7e-9 * size.rows * (size.columns * params["feature_fraction"] + 6)
    return float(0.03 + 4e-9 * size.rows * size.columns + rounds * trees * per_round)


def _space() -> tuple[Any, ...]:
    return (
        Float(name="learning_rate", low=0.01, high=0.3, default=0.05, log=True),
        Int(name="n_estimators", low=20, high=1000, default=100, log=True),
        Int(name="num_leaves", low=4, high=255, default=31, log=True),
        Int(name="min_data_in_leaf", low=1, high=200, default=20, log=True),
        Float(name="feature_fraction", low=0.3, high=1.0, default=0.9),
        Float(name="bagging_fraction", low=0.5, high=1.0, default=1.0),
        Float(name="lambda_l2", low=1e-3, high=100.0, default=1.0, log=True),
        Choice(name="extra_trees", options=(False, True), default=False),
        Float(name="cat_smooth", low=1.0, high=100.0, default=10.0, log=True),
        *encoder_space(scaled=False, native_categories=True, native_missing=True),
    )


def _build(params: Mapping[str, Any], context: FitContext) -> _Boosted:
    return _Boosted(params, context)


LEARNER = Learner(
    name="lightgbm",
    kinds=frozenset(TaskKind),
    space=_space(),
    defaults=(
        {"learning_rate": 0.05, "num_leaves": 31, "feature_fraction": 0.8, "bagging_fraction": 0.9},
        {"learning_rate": 0.05, "num_leaves": 31, "extra_trees": True, "prep_category": "target"},
        {
            "learning_rate": 0.03,
            "num_leaves": 95,
            "min_data_in_leaf": 5,
            "feature_fraction": 0.7,
            "prep_category": "native_target",
        },
        {
            "learning_rate": 0.03,
            "num_leaves": 8,
            "min_data_in_leaf": 30,
            "feature_fraction": 0.5,
            "lambda_l2": 5.0,
            "prep_category": "target",
        },
        {"learning_rate": 0.3, "num_leaves": 16, "feature_fraction": 0.6, "bagging_fraction": 0.9},
        {"learning_rate": 0.05, "num_leaves": 31, "feature_fraction": 0.8, "target_transform": "log"},
    ),
    build=_build,
    cost=_cost,
    handles_missing=True,
    stops_early=True,
)
