"""The engine's journal on PostgreSQL and blobs. Every write is fenced, and waits for a database that is away."""

from __future__ import annotations

import time
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import structlog
from sqlalchemy import select
from sqlalchemy.exc import DataError
from sqlalchemy.orm import Session

from app.blobs import Blobs
from app.database import Database
from app.jobs import journal as rows
from app.jobs import leases
from app.jobs.leases import Lease
from app.jobs.tables import Job, TrialRow
from app.settings import Settings
from workers.engine import journal as engine
from workers.engine.journal import LogEntry
from workers.engine.types import Budget, Proposal, Trial
from workers.renewal import DATABASE_ERRORS

log = structlog.get_logger(__name__)
Result = TypeVar("Result")

_FOLD_MODELS_MB = 24  # a trial's fold models are stored up to this size; larger ones are refitted after a crash
_PROGRESS_S = 0.5  # between two notes of progress
_RETRY_S = 0.3


class DatabaseJournal:
    """Implements `workers.engine.journal.Journal` for one job under one lease."""

    def __init__(self, database: Database, blobs: Blobs, settings: Settings, lease: Lease) -> None:
        self.database, self.blobs, self.settings, self.lease = database, blobs, settings, lease
        self.final: rows.Bundle | None = None  #: the model that the last commit publishes
        self.job: Job | None = None
        self._budget = Budget()
        self._published: list[str] = []
        self._progress_at = 0.0
        self._phase = ""

    def begin(self, job: Job, budget: Budget) -> None:
        """Take note of the job; one that goes on from a parent takes over the parent's trials."""
        self.job, self._budget = job, budget
        parent = job.parent_job_id
        if parent is not None:
            with self.database.transaction() as session:
                finished = [row for row in rows.read_log(session, parent) if row.status is not None]
            self.write(lambda session: rows.replay_parent(session, self.lease, finished))

    def write(self, action: Callable[[Session], Result]) -> Result:
        """One transaction; tried again while the database is away. The supervisor ends us if that takes too long.

        Raises:
            Fenced: the job is no longer ours.
        """
        while True:
            try:
                with self.database.transaction() as session:
                    return action(session)
            except DataError:  # no waiting helps: the value is wrong
                raise
            except DATABASE_ERRORS as error:
                log.warning("database away, trying again", error=str(error).splitlines()[0])
                time.sleep(self.settings.interval(_RETRY_S))

    def history(self) -> list[LogEntry]:
        """Asks and tells of earlier attempts in order."""
        with self.database.transaction() as session:
            log_rows = rows.read_log(session, self.lease.job_id)
        numbered = [(row.ask_seq, _entry(row, told=False)) for row in log_rows]
        numbered += [(row.tell_seq, _entry(row, told=True)) for row in log_rows if row.tell_seq is not None]
        return [entry for _, entry in sorted(numbered, key=lambda pair: pair[0])]

    def asked(self, number: int, proposal: Proposal) -> None:
        """A row in flight."""
        content = engine.proposal_to_json(proposal)
        self.write(lambda session: rows.record_ask(session, self.lease, number, content))

    def told(self, trial: Trial, folder: Path | None) -> None:
        """Artefacts first, then the row: a finished trial's artefacts are always there."""
        key = None if folder is None else self._store(trial.number, folder)
        told = rows.Told(
            number=trial.number,
            status=trial.status,
            trial=engine.to_json(trial) | {"proposal": engine.proposal_to_json(trial.proposal)},
            loss=trial.loss,
            blob_key=key,
        )

        def record(session: Session) -> dict[str, Any] | None:
            rows.record_tell(session, self.lease, told)
            budget: dict[str, Any] | None = session.scalar(
                select(Job.spec["budget"]).where(Job.id == self.lease.job_id)
            )
            return budget

        if (budget := self.write(record)) is not None:
            self._budget = replace(self._budget, seconds=budget["seconds"], trials=budget["trials"])

    def restore(self, number: int, into: Path) -> bool:
        """Unpack a trial's artefacts."""
        with self.database.transaction() as session:
            key = session.scalar(
                select(TrialRow.blob_key).where(TrialRow.job_id == self.lease.job_id, TrialRow.number == number)
            )
        if key is None or not self.blobs.path(key).exists():
            return False
        with zipfile.ZipFile(self.blobs.path(key)) as file:
            file.extractall(into)  # written by us, under a key of ours
        return True

    def publish(self, path: Path, manifest: Mapping[str, Any], *, final: bool) -> None:
        """Store a bundle and make it the job's model; the final one waits for the last commit."""
        key = f"jobs/{self.lease.job_id}/{self.lease.epoch}/model-{len(self._published)}.zip"
        blob = self.blobs.put_file(key, path)
        bundle = rows.Bundle(
            blob_key=key,
            sha256=blob.sha256,
            bytes=blob.bytes,
            kind=manifest["kind"],
            target=manifest["target"],
            metric=manifest["metric"],
            score=manifest["score"],
            members=[
                {"trial": member["trial"], "learner": member["learner"], "weight": member["share"]}
                for member in manifest["members"]
            ],
            input_schema=manifest["input_schema"],
            is_final=False,
        )
        if final:
            self.final = bundle
        else:
            self.write(lambda session: rows.publish_model(session, self.lease, bundle))
        self._published.append(key)
        for old in self._published[:-2]:  # who has just read the row may still open the one before
            self.blobs.delete(old)

    def finish(self, *, reproducible: bool) -> None:
        """The job's last commit: its model and its end, together. One whose answer got lost is not made again.

        Raises:
            Fenced: the job is no longer ours.
        """
        final = self.final
        assert final is not None

        def commit(session: Session) -> None:
            if not leases.has_succeeded(session, self.lease):
                rows.publish_model(session, self.lease, final)
                leases.finish(session, self.lease, reproducible=reproducible)

        self.write(commit)

    def progress(self, data: Mapping[str, Any]) -> None:
        """Not too often, unless the phase changes."""
        now, phase = time.monotonic(), str(data["phase"])
        if phase == self._phase and now - self._progress_at < self.settings.interval(_PROGRESS_S):
            return
        self._progress_at, self._phase = now, phase
        self.write(lambda session: rows.set_progress(session, self.lease, dict(data)))

    def budget(self) -> Budget:
        """As of the last tell."""
        return self._budget

    def _store(self, number: int, folder: Path) -> str:
        """One uncompressed zip: out-of-fold predictions, and fold models unless they are too large."""
        folds = [path for path in folder.glob("fold_*/*") if path.is_file()]
        size = sum(path.stat().st_size for path in folds)
        files = [folder / "oof.npy", *(folds if size <= _FOLD_MODELS_MB << 20 else ())]
        packed = folder / "artefacts.zip"
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_STORED) as file:
            for path in files:
                file.write(path, path.relative_to(folder))
        key = f"jobs/{self.lease.job_id}/trials/{number}-{self.lease.epoch}.zip"
        self.blobs.put_file(key, packed)
        packed.unlink()
        return key


def _entry(row: TrialRow, *, told: bool) -> LogEntry:
    proposal = engine.proposal_from_json(row.proposal)
    if not told or row.trial is None:
        return LogEntry(number=row.number, proposal=proposal)
    content = {name: value for name, value in row.trial.items() if name != "proposal"}
    return LogEntry(number=row.number, proposal=proposal, trial=engine.from_json(row.number, proposal, content))
