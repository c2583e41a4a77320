"""The baseline that knows only the target: class frequencies, or the mean."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..bundle.export import MemberExport
from ..types import TaskKind
from .base import Array, FitContext, Learner


class Dummy:
    """Answers every row alike."""

    def __init__(self, context: FitContext) -> None:
        self.n_classes = context.n_classes

    def fit(self, X: Array, y: Array, sample_weight: Array | None = None, eval_set: Any = None) -> Dummy:
        """Weighted class frequencies with half a row of prior each, or the weighted mean."""
        if not self.n_classes:
            self.answer_ = np.array([np.average(y, weights=sample_weight)])
            return self
        counts = np.bincount(y, weights=sample_weight, minlength=self.n_classes) + 0.5
        self.answer_ = counts / counts.sum()
        return self

    def predict(self, X: Array) -> Array:
        """The mean, or the most frequent class."""
        return np.full(len(X), self.answer_.argmax() if self.n_classes else self.answer_[0])

    def predict_proba(self, X: Array) -> Array:
        """The frequencies."""
        return np.tile(self.answer_, (len(X), 1))

    def export_member(self) -> MemberExport:
        """What a bundle keeps."""
        return MemberExport(format="constant", model=self.answer_)


def _build(params: Mapping[str, Any], context: FitContext) -> Dummy:
    return Dummy(context)


LEARNER = Learner(
    name="dummy",
    kinds=frozenset(TaskKind),
    space=(),
    defaults=({},),
    build=_build,
    cost=lambda params, size: 1e-8 * size.rows,
    handles_missing=True,
)
