"""Random forest and extremely randomised trees."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..preprocessing.options import encoder_space
from ..space import Choice, Int
from ..types import TaskKind
from .base import FitContext, Learner, Size
from .wrap import Wrapped

_ENCODER = encoder_space(scaled=False, native_categories=False, native_missing=False)


class _Forest(Wrapped):
    def _model(self) -> tuple[str, Any, dict[str, Any]]:
        return "forest", self.inner_, {}


def _build_with(family: str, bootstrap: bool) -> Any:
    def build(params: Mapping[str, Any], context: FitContext) -> Wrapped:
        from sklearn import ensemble

        def make(n_classes: int) -> Any:
            features = params["max_features"]
            shared = {
                "n_estimators": params["n_estimators"],
                "max_features": features if isinstance(features, str) else float(features),
                "min_samples_leaf": min(params["min_samples_leaf"], max(1, context.n_rows // 4)),
                "bootstrap": bootstrap,
                "n_jobs": context.threads,
                "random_state": context.seed,
            }
            if n_classes:
                return getattr(ensemble, f"{family}Classifier")(criterion=params["criterion"], **shared)
            return getattr(ensemble, f"{family}Regressor")(**shared)

        return _Forest(make, context)

    return build


_SPACE = (
    Int(name="n_estimators", low=50, high=400, default=200, log=True),
    Choice(name="max_features", options=("sqrt", 0.33, 0.5, 0.75, 1.0), default="sqrt"),
    Int(name="min_samples_leaf", low=1, high=40, default=1, log=True),
    Choice(name="criterion", options=("gini", "entropy"), default="gini"),
    *_ENCODER,
)


def _features(params: Mapping[str, Any], size: Size) -> float:
    share = params["max_features"]
    return float(size.columns**0.5 if share == "sqrt" else share * size.columns)


def _cost_with(per_cell: float) -> Any:
    def cost(params: Mapping[str, Any], size: Size) -> float:
        depth = max(1.0, (size.rows / params["min_samples_leaf"])) ** 0.12
        classes = 1 + 0.05 * size.classes
        cells = size.rows * (2 + _features(params, size))
        return float(params["n_estimators"] * (1e-3 + per_cell * cells * depth * classes))

    return cost


RANDOM_FOREST = Learner(
    name="random_forest",
    kinds=frozenset(TaskKind),
    space=_SPACE,
    defaults=(
        {"n_estimators": 200, "max_features": 0.5, "min_samples_leaf": 5, "prep_category": "target"},
        {"n_estimators": 250, "max_features": "sqrt", "min_samples_leaf": 2, "criterion": "entropy"},
    ),
    build=_build_with("RandomForest", True),
    cost=_cost_with(1.1e-7),
)

EXTRA_TREES = Learner(
    name="extra_trees",
    kinds=frozenset(TaskKind),
    space=_SPACE,
    defaults=(
        {
            "n_estimators": 250,
            "max_features": 0.75,
            "min_samples_leaf": 3,
            "criterion": "entropy",
            "prep_category": "target",
        },
        {"n_estimators": 250, "max_features": 0.75, "min_samples_leaf": 5, "prep_category": "onehot"},
    ),
    build=_build_with("ExtraTrees", False),
    cost=_cost_with(2.5e-8),
)
