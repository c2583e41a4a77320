"""Official foundation models, where the operator has installed them: `bundle/runtime/installed.py` says how."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..bundle.runtime.foundation import Foundation
from ..bundle.runtime.installed import digest, sort_of, weights
from ..errors import EngineError
from ..preprocessing.options import encoder_space
from ..space import Int
from ..types import TaskKind
from .base import ABSOLUTE, Array, FitContext, Learner, Size
from .wrap import Wrapped

_LARGEST, _WIDEST, _MOST_CLASSES = 10_000, 500, 10  # what both have practised on


def foundation_learner(package: str) -> Learner:
    """A learner of a package's pretrained weights."""

    def build(params: Mapping[str, Any], context: FitContext) -> FoundationLearner:
        return FoundationLearner(package, params, context)

    files = {kind: weights(package, sort_of(0 if kind is TaskKind.REGRESSION else 2)) for kind in TaskKind}
    known = {kind: digest(path) for kind, path in files.items() if path is not None}
    return Learner(
        name=package,
        kinds=frozenset(known),
        space=(
            Int(name="views", low=1, high=8, default=4, log=True),
            *encoder_space(scaled=False, native_categories=False, native_missing=False, log_target=False),
        ),
        defaults=({"views": 4, "prep_category": "ordinal"},),
        build=build,
        cost=_cost,
        declines=_declines,
        revision=int(hashlib.sha256("".join(sorted(set(known.values()))).encode()).hexdigest()[:8], 16),
    )


def _cost(params: Mapping[str, Any], size: Size) -> float:
    """Seconds to load the weights, to embed every cell, and to let rows ask each other."""
    views = int(params["views"])
    return 2.0 + views * size.rows * (2e-4 * size.columns + 1.5e-3 + 2e-7 * size.rows)


def _declines(size: Size) -> str | None:
    if size.rows > _LARGEST or size.columns > _WIDEST:
        return f"without a GPU it takes too long to read more than {_LARGEST} rows or {_WIDEST} columns"
    if size.classes > _MOST_CLASSES:
        return f"it has practised on {_MOST_CLASSES} classes at most"
    return None


class FoundationLearner(Wrapped):
    """Keeps the training rows for a foundation model; rows that weigh more are there more often.

    Args:
        package: in `foundation.PACKAGES`.
        params: "views", how many.
        context: of the fit.
    """

    def __init__(self, package: str, params: Mapping[str, Any], context: FitContext) -> None:
        super().__init__(lambda classes: classes, context, weighted=False)
        self.package, self.views = package, int(params["views"])

    def _fit_inner(self, X: Array, y: Array, weight: Array | None, eval_set: Any) -> None:
        classes = int(self.inner_)
        path = weights(self.package, sort_of(classes))
        if path is None:
            raise EngineError(f"The weights of {self.package} are gone: put them back, or exclude {self.package}.")
        self.configuration_ = {
            "package": self.package,
            "classes": classes,
            "digest": digest(path),
            "views": self.views,
            "seed": self.context.seed,
            "absolute": self.context.metric in ABSOLUTE,
        }
        rows, labels = np.asarray(X, dtype=np.float32), np.asarray(y)
        self.tensors_ = {"X": rows, "y": labels}
        self.inner_ = Foundation(self.configuration_, rows, labels, self.context.threads)

    def _raw(self, X: Array) -> Any:
        return self.inner_.predict(np.asarray(X, dtype=np.float32))

    def _model(self) -> tuple[str, Any, dict[str, Any]]:
        return "foundation", (self.configuration_, self.tensors_), {"package": self.package}


TABICL, TABPFN = foundation_learner("tabicl"), foundation_learner("tabpfn")
