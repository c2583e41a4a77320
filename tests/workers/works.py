"""A worker's insides for tests: a supervisor in this process, real runners, a table in the database."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any
from uuid import UUID

from sqlalchemy import text

from app.blobs import Blobs
from app.database import Base, Database
from app.datasets.service import add_dataset, read_table, store_table
from app.datasets.upload import Upload
from app.jobs import journal, service
from app.jobs.schemas import JobSpec
from app.jobs.tables import Job
from app.knowledge.archive import open_archive
from app.knowledge.loading import load_archive
from app.models.tables import Model
from app.projects.tables import Project
from app.settings import Settings
from workers.engine.bundle import open_bundle
from workers.nursery import Nursery
from workers.supervisor import Supervisor

PENGUINS = Path(__file__).parents[2] / "app" / "local" / "data" / "penguins.csv"
TRIALS = 5


class Works:
    """A supervisor in this process, a real runner in its own, a table in the database."""

    def __init__(self, settings: Settings, database: Database, supervisor: Supervisor, nursery: Nursery) -> None:
        self.settings, self.database, self.supervisor, self.nursery = settings, database, supervisor, nursery
        self.blobs = Blobs(settings.blobs)
        with database.transaction() as session:
            project = Project(name="works", quotas={})
            session.add(project)
            session.flush()
            self.project_id = project.id
        self.dataset_id = self.store(PENGUINS)

    def store(self, source: Path) -> UUID:
        """A table's dataset."""
        digest = hashlib.sha256(source.read_bytes()).hexdigest()
        upload = Upload(path=source, sha256=digest, bytes=source.stat().st_size, filename=source.name)
        parquet = self.settings.scratch / "table.parquet"
        parquet.parent.mkdir(parents=True, exist_ok=True)
        table = read_table(upload, parquet, self.settings, header=None)
        dataset = store_table(self.blobs, parquet, upload, table, project_id=self.project_id, name="penguins")
        with self.database.transaction() as session:
            add_dataset(session, dataset, self.settings)
        parquet.unlink()
        return dataset.id

    def know(self, folder: Path) -> None:
        """The store holds this archive and nothing else."""
        names = [name for name in Base.metadata.tables if "knowledge" in name or name == "metamodels"]
        with self.database.transaction() as session:
            session.execute(text(f"TRUNCATE {', '.join(names)} CASCADE"))
            load_archive(session, self.blobs, open_archive(folder))

    def submit(self, **changes: Any) -> UUID:
        """A job of a few quick trials; its seed decides everything."""
        spec = {
            "dataset_id": self.dataset_id,
            "target": "species",
            "budget": {"seconds": None, "trials": TRIALS},
            "algorithms": {"include": ["dummy", "linear", "naive_bayes", "nearest_neighbours"]},
            "validation": {"scheme": "kfold", "folds": 3},
            "seed": 7,
        }
        with self.database.transaction() as session:
            made = service.submit_job(session, self.project_id, JobSpec(**spec | changes), self.settings)
        return made.id

    def job(self, job_id: UUID) -> Job:
        """Its row."""
        with self.database.transaction() as session:
            return session.get_one(Job, job_id)

    def log(self, job_id: UUID) -> list[Any]:
        """Its trials' rows in order."""
        with self.database.transaction() as session:
            return journal.read_log(session, job_id)

    def predictions(self, job_id: UUID) -> list[Any]:
        """Of its model, whose bundle is what the row says, for every tenth row of the table."""
        with self.database.transaction() as session:
            model = session.query(Model).filter_by(job_id=job_id).one()
        path = self.blobs.path(model.blob_key)
        assert hashlib.sha256(path.read_bytes()).hexdigest() == model.sha256
        assert model.is_final
        names, *lines = [line.split(",") for line in PENGUINS.read_text().splitlines()]
        rows = [{k: v or None for k, v in zip(names, line, strict=True) if k != "species"} for line in lines[::10]]
        answer: list[Any] = open_bundle(path).predict(rows)["probabilities"]
        return answer


def leaderboard(rows: list[Any]) -> list[Any]:
    """What must be the same whenever the same seed runs."""
    return [(row.number, row.proposal, row.status, row.loss, row.trial["fold_losses"]) for row in rows]
