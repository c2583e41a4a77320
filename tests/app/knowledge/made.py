"""What a job leaves, made up."""

from __future__ import annotations

from typing import Any

from app.knowledge.repository import TaskDescription

FULL = {"rows": 1.0, "folds": None}


def make_evaluation(learner: str = "linear") -> dict[str, Any]:
    """A full evaluation."""
    return {
        "configuration": {"learner": learner},
        "learner_version": "v",
        "fidelity": FULL,
        "status": "succeeded",
        "metrics": {"roc_auc": 0.8},
        "cpu_seconds": 0.2,
    }


def make_task(fingerprint: str = "f" * 64, **changes: Any) -> TaskDescription:
    values = {"group": "g", "kind": "binary", "metafeatures": {"rows": 200.0}, "constants": {}, "sketch": b"\x01\x02"}
    return TaskDescription(fingerprint=fingerprint, **{**values, **changes})
