"""A trial as knowledge keeps it (design, section 6): what a later engine may need to know, no rows, no names."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

from ..space import Space
from ..types import Trial


def evaluation_of(trial: Trial, space: Space, metric: str) -> dict[str, Any]:
    """JSON-able; `loss` is of `metric`."""
    proposal = trial.proposal
    return {
        "configuration": dict(proposal.configuration),
        "engine_version": version("warmstart"),
        "learner_version": space.version_of(proposal.configuration["learner"]),
        "fidelity": {"rows": proposal.fidelity.rows, "folds": proposal.fidelity.folds},
        "source": str(proposal.source),
        "status": str(trial.status),
        "reason": trial.reason,
        "metric": metric,
        "loss": trial.loss,
        "fold_losses": list(trial.fold_losses),
        "metrics": dict(trial.metrics),
        "seconds": trial.seconds,
        "cpu_seconds": trial.cpu_seconds,
        "memory_mb": trial.memory_mb,
        "cores": 1,
        "best_iterations": list(trial.best_iterations),
    }
