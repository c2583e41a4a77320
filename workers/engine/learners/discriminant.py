"""Discriminant analysis: linear with shrinkage, or quadratic."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..preprocessing.options import encoder_space
from ..space import Choice, Float
from ..types import TaskKind
from .base import FitContext, Learner, Size
from .wrap import Wrapped

_MOST_COLUMNS = 1500


def _build(params: Mapping[str, Any], context: FitContext) -> Wrapped:
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis, QuadraticDiscriminantAnalysis

    def make(n_classes: int) -> Any:
        if params["form"] == "linear":
            return LinearDiscriminantAnalysis(solver="lsqr", shrinkage=params["shrinkage"])
        return QuadraticDiscriminantAnalysis(solver="eigen", shrinkage=max(params["shrinkage"], 1e-3))

    return Wrapped(make, context, weighted=False)


def _declines(size: Size) -> str | None:
    return f"more than {_MOST_COLUMNS} columns make its covariances slow" if size.columns > _MOST_COLUMNS else None


LEARNER = Learner(
    name="discriminant",
    kinds=frozenset({TaskKind.BINARY, TaskKind.MULTICLASS}),
    space=(
        Choice(name="form", options=("linear", "quadratic"), default="linear"),
        Float(name="shrinkage", low=1e-3, high=1.0, default=0.05, log=True),
        *encoder_space(scaled=True, native_categories=False, native_missing=False),
    ),
    defaults=({"form": "linear", "shrinkage": 0.05}, {"form": "quadratic", "shrinkage": 0.2}),
    build=_build,
    cost=lambda params, size: (
        0.004 + size.columns * (1.5e-8 + 2e-10 * size.columns) * size.rows + 2e-9 * size.columns**3 * size.classes
    ),
    declines=_declines,
)
