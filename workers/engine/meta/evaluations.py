"""A trial as knowledge keeps it (design, section 6): what a later engine may need to know, no rows, no names."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

from ..space import Space, canonical
from ..types import Configuration, Fidelity, Trial, TrialStatus

#: Statuses of trials that a clock ended, be it the job's: not what the configuration is worth.
TELLS_NOTHING = (TrialStatus.STOPPED, TrialStatus.TIMED_OUT)


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


def key_of(evaluation: Mapping[str, Any]) -> str | None:
    """Digest of configuration and learner version: equal where the same was tried. None unless at full fidelity."""
    if Fidelity(**evaluation["fidelity"]) != Fidelity():
        return None
    return configuration_key(evaluation["configuration"], evaluation["learner_version"])


def configuration_key(configuration: Configuration, learner_version: str) -> str:
    """The same of a configuration alone."""
    return hashlib.sha256(f"{learner_version} {canonical(configuration)}".encode()).hexdigest()[:24]
