"""Gaussian naive Bayes: instant, and at times what a small noisy table wants."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..preprocessing.options import encoder_space
from ..space import Float
from ..types import TaskKind
from .base import Array, FitContext, Learner
from .wrap import Wrapped


class _Doubled(Wrapped):
    """Means and variances in float64: sums over hundreds of columns lose too much in float32."""

    def _fit_inner(self, X: Array, y: Array, weight: Array | None, eval_set: Any) -> None:
        super()._fit_inner(X.astype(np.float64), y, weight, eval_set)


def _build(params: Mapping[str, Any], context: FitContext) -> Wrapped:
    from sklearn.naive_bayes import GaussianNB

    return _Doubled(lambda n_classes: GaussianNB(var_smoothing=params["var_smoothing"]), context)


LEARNER = Learner(
    name="naive_bayes",
    kinds=frozenset({TaskKind.BINARY, TaskKind.MULTICLASS}),
    space=(
        Float(name="var_smoothing", low=1e-9, high=1.0, default=1e-3, log=True),
        *encoder_space(scaled=True, native_categories=False, native_missing=False),
    ),
    defaults=({"var_smoothing": 1e-2, "prep_category": "target", "prep_scale": "quantile"},),
    build=_build,
    cost=lambda params, size: 0.005 + 1e-8 * size.rows * size.columns * size.classes,
)
