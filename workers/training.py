"""A training: metamodels learn from all that is shared, are judged on the replay groups, and used if proven better."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import structlog
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.ids import new_id
from app.jobs import leases
from app.jobs.journal import set_progress
from app.jobs.tables import Job, JobPurpose
from app.knowledge import repository
from app.knowledge.tables import KnowledgeEvaluation, KnowledgeTask, Metamodel, MetamodelState
from app.knowledge.training import make_champion
from app.projects.tables import Project
from workers.engine.catalog import EMBEDDING_ROLE, LEARNERS
from workers.engine.meta.embeddings import EMBEDDINGS, TaskEmbedding, load_embedding
from workers.engine.meta.judging import Verdict, judge, regrets_with
from workers.engine.meta.recorded import RecordedTask
from workers.engine.meta.replay import is_replay
from workers.engine.space import Space
from workers.engine.types import Configuration, TaskKind
from workers.journal import DatabaseJournal
from workers.placing import place

log = structlog.get_logger(__name__)

_PROGRESS_S = 1.0
_FEWEST_TASKS = 10
_JUDGED = 400  # replay tasks at most, always the same
_SHARE = 0.9  # of the budget, after which no verdict is begun
_BATCH = 500  # tasks placed in one transaction


class OutOfTime(Exception):
    """The training's budget is over."""


class Training:
    """One training under one lease."""

    def __init__(self, journal: DatabaseJournal, folder: Path, seconds: float) -> None:
        self._journal, self._folder = journal, folder
        self._said = 0.0
        self._until = time.monotonic() + _SHARE * seconds
        self._verdicts: list[dict[str, Any]] = []

    def run(self) -> None:
        """To its committed end."""
        try:
            self._challenge()
        except OutOfTime:
            self._end("The time was over before every verdict: raise WARMSTART_TRAIN_SECONDS.")

    def _challenge(self) -> None:
        """Train, judge, promote."""
        self._say("reading", force=True)
        with self._journal.database.transaction() as session:
            tasks, configurations, projects = read_shared(session)
            champion = repository.find_champion(session, EMBEDDING_ROLE)
        learned = [task for task in tasks if not is_replay(task.group)]
        judged = [task for task in tasks if is_replay(task.group)]
        if champion is None:
            return self._end("No embedding is in use: `warmstart migrate` loads the package's.")
        if len(learned) < _FEWEST_TASKS:
            few = f"Only {len(learned)} tasks are shared that may be learned from; {_FEWEST_TASKS} are needed."
            return self._end(few)
        judged = sorted(judged, key=lambda task: hashlib.sha256(task.group.encode()).digest())[:_JUDGED]
        evaluations = sum(len(task.losses) for task in learned)
        about = {"tasks": len(learned), "evaluations": evaluations, "projects": sorted(map(str, projects))}
        reigning = load_embedding(champion.name, self._journal.blobs.path(champion.blob_key))
        digest, regrets = champion.sha256, self._regrets(reigning, learned, judged, configurations)
        for kind in EMBEDDINGS.values():
            self._say("training", force=True, metamodel=kind.name)
            challenger = kind.train(learned)
            file = self._folder / f"{challenger.name}.safetensors"
            self._folder.mkdir(parents=True, exist_ok=True)
            challenger.save(file)
            if hashlib.sha256(file.read_bytes()).hexdigest() == digest:
                why = "it is what the champion is"
                self._verdicts.append({"name": challenger.name, "promoted": False, "why": why})
                continue
            found = self._regrets(challenger, learned, judged, configurations)
            verdict = judge([task.group for task in judged], regrets, found)
            self._keep(challenger, file, about, verdict)
            if verdict.is_won:
                digest, regrets = hashlib.sha256(file.read_bytes()).hexdigest(), found
        return self._end()

    def _keep(self, challenger: TaskEmbedding, file: Path, about: dict[str, Any], verdict: Verdict) -> None:
        """Keep the challenger; promote it if it is proven better."""
        blob = self._journal.blobs.put_file(f"metamodels/{new_id()}/{file.name}", file)

        def keep(session: Session) -> UUID:
            leases.hold(session, self._journal.lease)
            same = select(Metamodel).where(Metamodel.name == challenger.name, Metamodel.sha256 == blob.sha256)
            if (known := session.scalars(same.limit(1)).one_or_none()) is not None:
                known.learned_from, known.replay = about, asdict(verdict)
                return known.id
            latest = select(func.max(Metamodel.version)).where(Metamodel.name == challenger.name)
            metamodel = Metamodel(
                id=new_id(),
                role=challenger.role,
                name=challenger.name,
                version=(session.scalars(latest).one() or 0) + 1,
                state=MetamodelState.CHALLENGER,
                blob_key=blob.key,
                sha256=blob.sha256,
                learned_from=about,
                replay=asdict(verdict),
            )
            session.add(metamodel)
            session.flush()
            return metamodel.id

        metamodel_id = self._journal.write(keep)
        if verdict.is_won:
            self._place_all(metamodel_id, challenger)
        is_promoted = verdict.is_won and self._journal.write(lambda session: self._promote(session, metamodel_id))
        why = "proven better" if is_promoted else "not proven better on enough replay groups"
        if verdict.is_won and not is_promoted:
            why = "a project that taught it no longer shares"
        self._verdicts.append(
            {
                "id": str(metamodel_id),
                "name": challenger.name,
                "promoted": is_promoted,
                "why": why,
                **asdict(verdict),
            }
        )

    def _regrets(
        self,
        embedding: TaskEmbedding,
        learned: Sequence[RecordedTask],
        judged: Sequence[RecordedTask],
        configurations: dict[str, Configuration],
    ) -> np.ndarray:
        def on_task(number: int) -> None:
            if time.monotonic() > self._until:
                raise OutOfTime
            self._say("judging", tasks=number, of=len(judged))

        return regrets_with(embedding, learned, judged, configurations, on_task)

    def _place_all(self, metamodel_id: UUID, embedding: TaskEmbedding) -> None:
        """Every task, also those that are not shared: their projects look for neighbours too."""
        while self._journal.write(lambda session: self._place(session, metamodel_id, embedding)):
            self._say("placing tasks")

    def _place(self, session: Session, metamodel_id: UUID, embedding: TaskEmbedding) -> int:
        """How many tasks it was."""
        leases.hold(session, self._journal.lease)
        return place(session, session.get_one(Metamodel, metamodel_id), embedding, _BATCH)

    def _promote(self, session: Session, metamodel_id: UUID) -> bool:
        """Unless a project that taught it has taken its knowledge back meanwhile, or is gone."""
        leases.hold(session, self._journal.lease)
        metamodel = session.get_one(Metamodel, metamodel_id)
        taught = metamodel.learned_from["projects"]
        sharing = select(Project.id).where(Project.id.in_([UUID(one) for one in taught]), Project.shares_knowledge)
        if len(session.scalars(sharing.with_for_update(read=True)).all()) < len(taught):
            metamodel.learned_from = {**metamodel.learned_from, "forgotten": True}
            return False
        make_champion(session, metamodel)
        return True

    def _say(self, phase: str, *, force: bool = False, **more: Any) -> None:
        if not force and time.monotonic() - self._said < _PROGRESS_S:
            return
        self._said = time.monotonic()
        progress = {"phase": phase, "challengers": self._verdicts, **more}
        self._journal.write(lambda session: set_progress(session, self._journal.lease, progress))

    def _end(self, detail: str | None = None) -> None:
        self._say("finished", force=True, **({} if detail is None else {"detail": detail}))
        if not self._journal.write(lambda session: leases.finish(session, self._journal.lease, reproducible=True)):
            raise leases.Fenced(f"training {self._journal.lease.job_id} could not be ended")


def train(journal: DatabaseJournal, folder: Path) -> None:
    """Run the training that the journal's lease is for.

    Raises:
        Fenced: somebody else has it.
    """
    with journal.database.transaction() as session:
        seconds = session.get_one(Job, journal.lease.job_id).spec["budget"]["seconds"]
    Training(journal, folder, seconds).run()


def read_shared(session: Session) -> tuple[list[RecordedTask], dict[str, Configuration], set[UUID]]:
    """Tasks that all may learn from with their trials, configurations by key, and the projects that share them."""
    rows = session.scalars(
        select(KnowledgeTask)
        .where(KnowledgeTask.is_shared | KnowledgeTask.project_id.is_(None))
        .order_by(KnowledgeTask.fingerprint, KnowledgeTask.id)
    ).all()
    tasks = {
        row.id: RecordedTask(row.group, TaskKind(row.kind), row.metafeatures, row.constants)
        for row in rows
        if {"rows", "columns"} <= row.metafeatures.keys()
    }
    spaces = {kind: Space(LEARNERS, kind) for kind in TaskKind}
    configurations: dict[str, Configuration] = {}
    query = (
        select(KnowledgeEvaluation.task_id, KnowledgeEvaluation.evaluation)
        .join(KnowledgeTask, KnowledgeTask.id == KnowledgeEvaluation.task_id)
        .where(
            KnowledgeTask.project_id.is_(None) | KnowledgeEvaluation.is_shared,
            KnowledgeEvaluation.configuration_key.is_not(None),
        )
    )
    for task_id, evaluation in session.execute(
        query.order_by(KnowledgeEvaluation.id).execution_options(yield_per=1000)
    ):
        if task_id not in tasks:
            continue
        space, configuration = spaces[tasks[task_id].kind], evaluation["configuration"]
        is_current = space.is_current(configuration, evaluation["learner_version"])
        if is_current and (key := tasks[task_id].add(evaluation)) is not None:
            configurations[key] = evaluation["configuration"]
    projects = {row.project_id for row in rows if row.project_id is not None and row.id in tasks}
    return [task for task in tasks.values() if task.losses], configurations, projects


def is_training(session: Session, job_id: UUID) -> bool:
    """Whether a job is a training."""
    return session.scalars(select(Job.purpose).where(Job.id == job_id)).one() == JobPurpose.TRAIN
