"""Gaussian naive Bayes: instant, and at times what a small noisy table wants."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..preprocessing.options import encoder_space
from ..space import Float
from ..types import TaskKind
from .base import FitContext, Learner
from .wrap import Wrapped


def _build(params: Mapping[str, Any], context: FitContext) -> Wrapped:
    from sklearn.naive_bayes import GaussianNB

    return Wrapped(lambda n_classes: GaussianNB(var_smoothing=params["var_smoothing"]), context)


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
