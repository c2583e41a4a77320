"""Trials that may become part of the model: their out-of-fold predictions and fold models, found when needed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .evaluation.prepare import PreparedTask
from .journal import Journal
from .types import Scheme, Trial, TrialStatus

Array = NDArray[Any]

_MOST = 40  # candidates whose predictions are held
_MOST_FOLDS = 0.6  # of all, without which a stopped trial is no candidate
_MOST_ROWS = 20_000  # of their predictions: more cost time and memory, and choose no better


@dataclass(frozen=True)
class Candidates:
    """Some trials with predictions for the same rows, best first."""

    trials: Sequence[Trial]
    rows: Array  #: places of the rows that all of them predicted, or of a sample of these
    y: Array
    weights: Array | None
    predictions: Sequence[Array]  #: each (rows, n_classes) or (rows,)


class Store:
    """Folders of finished trials. Those of an earlier attempt are fetched from the journal on first use."""

    def __init__(self, prepared: PreparedTask, journal: Journal, scratch: Path) -> None:
        self.prepared, self.journal, self.scratch = prepared, journal, scratch
        self.trials: dict[int, Trial] = {}
        self._bytes: dict[int, int] = {}

    def add(self, trial: Trial) -> None:
        """Take note of a finished trial."""
        self.trials[trial.number] = trial

    def folder(self, number: int) -> Path | None:
        """Where a trial's artefacts lie; None if they are gone."""
        folder = self.scratch / f"trial_{number}"
        if (folder / "oof.npy").exists():
            return folder
        self._bytes.pop(number, None)
        if self.journal.restore(number, folder):
            return folder
        return None

    def scored(self) -> list[Trial]:
        """Trials that can be ranked with each other, best first: full ones if there is any, else all with a score."""
        scored = [trial for trial in self.trials.values() if trial.loss is not None and np.isfinite(trial.loss)]
        full = [trial for trial in scored if _is_whole(trial)]
        return sorted(full or scored, key=lambda trial: (trial.loss, trial.number))

    def candidates(self) -> Candidates | None:
        """The best trials over the rows that all of them predicted; None while there is no score."""
        scored = self.scored()
        if scored and not _is_whole(scored[0]):
            scored = scored[:1]  # partial ones need not share a row
        elif scored:
            scored = [*self._nearly_whole(scored[0]), *scored]
        kept: list[Trial] = []
        oofs: list[Array] = []
        for trial in scored[:_MOST]:
            if (folder := self.folder(trial.number)) is not None:
                kept.append(trial)
                oofs.append(np.load(folder / "oof.npy", mmap_mode="r", allow_pickle=False))
        if not kept:
            return None
        rows = np.flatnonzero(np.all([~np.isnan(oof[:, 0]) for oof in oofs], axis=0))
        if len(rows) > _MOST_ROWS:
            rng = np.random.default_rng(self.prepared.task.seed)
            rows = np.sort(rng.choice(rows, _MOST_ROWS, replace=False))
        is_class = self.prepared.n_classes > 0
        return Candidates(
            kept,
            rows,
            np.asarray(self.prepared.y[rows]),
            None if self.prepared.weights is None else np.asarray(self.prepared.weights[rows]),
            [(oof[rows] if is_class else oof[rows, 0]).astype(np.float64) for oof in oofs],
        )

    def _nearly_whole(self, best: Trial) -> list[Trial]:
        """Trials that time stopped after most folds, and that were better on these than the best whole one."""
        return [
            trial
            for trial in self.trials.values()
            if trial.status is TrialStatus.STOPPED
            and trial.proposal.fidelity.is_full
            and len(trial.fold_losses) >= _MOST_FOLDS * len(best.fold_losses)
            and np.mean(trial.fold_losses) < np.mean(best.fold_losses[: len(trial.fold_losses)])
        ]

    def fold_folders(self, number: int) -> list[Path]:
        """The fold models of a trial to be averaged; empty if they are gone."""
        if (folder := self.folder(number)) is None:
            return []
        folders = sorted(folder.glob("fold_*"), key=lambda path: int(path.name[5:]))
        is_time = self.prepared.splits.scheme is Scheme.TIME  # the last has seen all that the others have, and more
        return folders[-1:] if is_time else folders

    def fold_bytes(self, number: int) -> int:
        """Bytes of a trial's fold models, as far as they lie here."""
        if number not in self._bytes:
            files = (self.scratch / f"trial_{number}").glob("fold_*/*")
            self._bytes[number] = sum(file.stat().st_size for file in files)
        return self._bytes[number]


def _is_whole(trial: Trial) -> bool:
    return trial.proposal.fidelity.is_full and trial.status is TrialStatus.SUCCEEDED
