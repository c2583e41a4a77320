"""Where a fit writes down what it does, so that it can be watched, extended, and taken up again after a crash."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from .types import Budget, Fidelity, Proposal, Source, Trial, TrialStatus


@dataclass(frozen=True, kw_only=True)
class LogEntry:
    """One line of the log: an ask (`trial` is None) or a tell. In the order in which they happened."""

    number: int
    proposal: Proposal
    trial: Trial | None = None


class Journal(Protocol):
    """What `fit` needs of whoever runs it. Any call may raise to end the fit."""

    def history(self) -> list[LogEntry]:
        """The log of earlier attempts; empty on the first."""
        ...

    def asked(self, number: int, proposal: Proposal) -> None:
        """A proposal is about to run. Durable when it returns."""
        ...

    def told(self, trial: Trial, folder: Path | None) -> None:
        """A trial has ended; `folder` holds oof.npy and fold_<i>/ if it has a score. Durable when it returns."""
        ...

    def restore(self, number: int, into: Path) -> bool:
        """Bring back what `told` was given for a trial of an earlier attempt; False if it is gone."""
        ...

    def publish(self, path: Path, manifest: Mapping[str, Any], *, final: bool) -> None:
        """A bundle that is the best so far, or the final one."""
        ...

    def progress(self, data: Mapping[str, Any]) -> None:
        """What a display shows."""
        ...

    def budget(self) -> Budget:
        """The budget as it now is: it may grow while the fit runs."""
        ...


class FolderJournal:
    """A journal in a folder, for notebooks and tests: `log.jsonl`, `trials/`, `model.zip`, `progress.json`."""

    def __init__(self, folder: Path, budget: Budget) -> None:
        self.folder = folder
        self._budget = budget
        (folder / "trials").mkdir(parents=True, exist_ok=True)

    def history(self) -> list[LogEntry]:
        """Every whole line of the log."""
        log = self.folder / "log.jsonl"
        if not log.exists():
            return []
        lines = [json.loads(line) for line in log.read_text().splitlines() if line.endswith("}")]
        return [_entry_from_json(line) for line in lines]

    def asked(self, number: int, proposal: Proposal) -> None:
        """Append an ask."""
        self._append({"number": number, "proposal": proposal_to_json(proposal)})

    def told(self, trial: Trial, folder: Path | None) -> None:
        """Keep the artefacts, then append a tell."""
        if folder is not None:
            shutil.copytree(folder, self.folder / "trials" / str(trial.number), dirs_exist_ok=True)
        self._append({"number": trial.number, "proposal": proposal_to_json(trial.proposal), "trial": to_json(trial)})

    def restore(self, number: int, into: Path) -> bool:
        """Copy the artefacts back."""
        source = self.folder / "trials" / str(number)
        if not source.exists():
            return False
        shutil.copytree(source, into, dirs_exist_ok=True)
        return True

    def publish(self, path: Path, manifest: Mapping[str, Any], *, final: bool) -> None:
        """Replace `model.zip`."""
        partial = self.folder / "model.partial"
        shutil.copyfile(path, partial)
        partial.replace(self.folder / "model.zip")

    def progress(self, data: Mapping[str, Any]) -> None:
        """Replace `progress.json`."""
        (self.folder / "progress.json").write_text(json.dumps(data))

    def budget(self) -> Budget:
        """The budget given."""
        return self._budget

    def _append(self, line: Mapping[str, Any]) -> None:
        with (self.folder / "log.jsonl").open("a") as file:
            file.write(json.dumps(line) + "\n")


def to_json(trial: Trial) -> dict[str, Any]:
    """A trial without its number and proposal, as JSON holds it."""
    return {name: value for name, value in asdict(trial).items() if name not in ("number", "proposal")}


def from_json(number: int, proposal: Proposal, data: Mapping[str, Any]) -> Trial:
    """The trial that `to_json` wrote."""
    tuples = {name: tuple(data.get(name) or ()) for name in ("fold_losses", "best_iterations", "smears")}
    return Trial(number=number, proposal=proposal, **{**data, **tuples, "status": TrialStatus(data["status"])})


def proposal_to_json(proposal: Proposal) -> dict[str, Any]:
    """A proposal as JSON holds it."""
    return {
        "configuration": dict(proposal.configuration),
        "fidelity": asdict(proposal.fidelity),
        "source": str(proposal.source),
    }


def proposal_from_json(data: Mapping[str, Any]) -> Proposal:
    """The proposal that `proposal_to_json` wrote."""
    return Proposal(
        configuration=data["configuration"], fidelity=Fidelity(**data["fidelity"]), source=Source(data["source"])
    )


def _entry_from_json(line: Mapping[str, Any]) -> LogEntry:
    proposal = proposal_from_json(line["proposal"])
    trial = from_json(line["number"], proposal, line["trial"]) if "trial" in line else None
    return LogEntry(number=line["number"], proposal=proposal, trial=trial)
