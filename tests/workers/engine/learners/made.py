"""What tests of learners say of a fit."""

from __future__ import annotations

from typing import Any

from workers.engine.learners.base import FitContext
from workers.engine.types import TaskKind


def make_context(X: Any, classes: int, **more: Any) -> FitContext:
    """Of all rows of X, on one thread; `classes` 0 is regression."""
    kind = TaskKind.REGRESSION if not classes else TaskKind.BINARY if classes == 2 else TaskKind.MULTICLASS
    known: dict[str, Any] = {"categorical": (), "threads": 1, "seed": 0, **more}
    return FitContext(kind=kind, n_classes=classes, n_rows=len(X), n_columns=X.shape[1], **known)
