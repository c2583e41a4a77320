"""A training: metamodels learn from all that is shared, are judged on the replay groups, and used if proven better."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
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
from workers.engine.catalog import EMBEDDING_ROLE, LEARNERS, METAMODELS, leading_role
from workers.engine.meta.embeddings import EMBEDDINGS, TaskEmbedding, load_embedding
from workers.engine.meta.judging import Verdict, judge, regrets_with
from workers.engine.meta.leading import SORTS, School
from workers.engine.meta.recorded import RecordedTask
from workers.engine.meta.replay import is_replay
from workers.engine.space import Space
from workers.engine.types import Configuration, TaskKind
from workers.journal import DatabaseJournal
from workers.placing import place
from workers.recall import load_leader

if TYPE_CHECKING:
    from workers.engine.meta.metamodel import Metamodel as SearchMetamodel

log = structlog.get_logger(__name__)

_PROGRESS_S = 1.0
_FEWEST_TASKS = 10
_JUDGED = 400  # replay tasks at most, always the same
_SHARE = 0.9  # of the budget, after which no verdict is begun
_BATCH = 500  # tasks placed in one transaction


class OutOfTime(Exception):
    """The training's budget is over."""


@dataclass(frozen=True)
class _Challenger:
    """A metamodel that was trained and saved."""

    name: str
    role: str
    file: Path
    about: dict[str, Any]  #: what it learned from

    @property
    def digest(self) -> str:
        """Of its file."""
        return hashlib.sha256(self.file.read_bytes()).hexdigest()


class Training:
    """One training under one lease."""

    def __init__(self, journal: DatabaseJournal, folder: Path, seconds: float) -> None:
        self._journal, self._folder = journal, folder
        self._said = 0.0
        self._longest = 0.0  # seconds that training one metamodel took
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
            tasks, configurations = read_shared(session)
            champion = repository.find_champion(session, EMBEDDING_ROLE)
        learned = [task for task in tasks if not is_replay(task.group)]
        judged = [task for task in tasks if is_replay(task.group)]
        if champion is None:
            return self._end("No embedding is in use: `warmstart migrate` loads the package's.")
        if len(learned) < _FEWEST_TASKS:
            few = f"Only {len(learned)} tasks are shared that may be learned from; {_FEWEST_TASKS} are needed."
            return self._end(few)
        judged = sorted(judged, key=lambda task: hashlib.sha256(task.group.encode()).digest())[:_JUDGED]
        about = describe_teachers(learned)
        reigning = load_embedding(champion.name, self._journal.blobs.path(champion.blob_key))
        digest, regrets = champion.sha256, self._regrets(reigning, learned, judged, configurations)
        for kind in EMBEDDINGS.values():
            self._say("training", force=True, metamodel=kind.name)
            embedding = kind.train(learned)
            challenger = _Challenger(embedding.name, EMBEDDING_ROLE, self._saved(embedding, embedding.name), about)
            if challenger.digest == digest:
                self._refuse(challenger, "it is what the champion is")
                continue
            found = self._regrets(embedding, learned, judged, configurations)
            verdict = judge([task.group for task in judged], regrets, found)
            self._keep(challenger, verdict, verdict.is_won, partial(self._place_all, embedding))
            if verdict.is_won:
                digest, regrets = challenger.digest, found
        for sort in SORTS:
            school = School(sort, learned, judged, configurations)
            about = describe_teachers(school.learned)
            for name in METAMODELS:
                self._challenge_leader(name, school, about)
        return self._end()

    def _challenge_leader(self, name: str, school: School, about: dict[str, Any]) -> None:
        """Train a metamodel that leads searches. The first of its role is used unless it does harm."""
        role = leading_role(name, school.sort)
        self._say("training", force=True, metamodel=role)
        if time.monotonic() + self._longest > self._until:  # the next may take as long as the last
            raise OutOfTime
        with self._journal.database.transaction() as session:
            champion = repository.find_champion(session, role)
        started = time.monotonic()
        leader = school.train(name)
        self._longest = max(self._longest, time.monotonic() - started)
        if leader is None:
            return
        challenger = _Challenger(name, role, self._saved(leader, role), about)
        if champion is not None and challenger.digest == champion.sha256:
            self._refuse(challenger, "it is what the champion is")
            return
        reigning = None if champion is None else load_leader(self._journal.blobs, champion)
        verdict = school.judge(name, reigning, leader, self._judging(len(school.judged)))
        self._keep(challenger, verdict, verdict.is_won or (reigning is None and verdict.gain >= 0))

    def _saved(self, metamodel: TaskEmbedding | SearchMetamodel, name: str) -> Path:
        self._folder.mkdir(parents=True, exist_ok=True)
        file = self._folder / f"{name}.safetensors"
        metamodel.save(file)
        return file

    def _refuse(self, challenger: _Challenger, why: str) -> None:
        about = {"name": challenger.name, "role": challenger.role}
        self._verdicts.append({**about, "promoted": False, "why": why})

    def _keep(
        self,
        challenger: _Challenger,
        verdict: Verdict,
        is_wanted: bool,
        prepare: Callable[[UUID], None] = lambda identity: None,
    ) -> None:
        """Keep the challenger; promote it if that is wanted, once what its champion needs is prepared."""
        blob = self._journal.blobs.put_file(f"metamodels/{new_id()}/{challenger.file.name}", challenger.file)

        def keep(session: Session) -> UUID:
            leases.hold(session, self._journal.lease)
            still = _still_share(session, challenger.about)
            about = challenger.about if still else repository.forgotten(challenger.about)
            same = select(Metamodel).where(Metamodel.role == challenger.role, Metamodel.sha256 == blob.sha256)
            if (known := session.scalars(same.limit(1)).one_or_none()) is not None:
                self._journal.blobs.delete(blob.key)
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
        if is_wanted:
            prepare(metamodel_id)
        is_promoted = is_wanted and self._journal.write(lambda session: self._promote(session, metamodel_id))
        why = "not proven better on enough replay groups"
        if is_promoted:
            why = "proven better" if verdict.is_won else "the first of its role, and no worse than none"
        elif is_wanted:
            why = "a project that taught it no longer shares"
        self._verdicts.append(
            {
                "id": str(metamodel_id),
                "name": challenger.name,
                "role": challenger.role,
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
        return regrets_with(embedding, learned, judged, configurations, self._judging(len(judged)))

    def _judging(self, tasks: int) -> Callable[[int], None]:
        """Says how far it is; the search for a verdict ends with the time."""

        def on_task(number: int) -> None:
            if time.monotonic() > self._until:
                raise OutOfTime
            self._say("judging", tasks=number, of=tasks)

        return on_task

    def _place_all(self, embedding: TaskEmbedding, metamodel_id: UUID) -> None:
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
        if metamodel.learned_from.get("forgotten") or not _still_share(session, metamodel.learned_from):
            metamodel.learned_from = repository.forgotten(metamodel.learned_from)
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


def describe_teachers(tasks: Sequence[RecordedTask]) -> dict[str, Any]:
    """What a metamodel keeps of the tasks that it learned from."""
    projects = {task.owner for task in tasks if task.owner is not None}
    evaluations = sum(len(task.losses) for task in tasks)
    return {"tasks": len(tasks), "evaluations": evaluations, "projects": sorted(projects)}


def _still_share(session: Session, about: Mapping[str, Any]) -> bool:
    """Whether all who taught still share; they go on to until the transaction ends."""
    sharing = select(Project.id).where(
        Project.id.in_([UUID(one) for one in about["projects"]]), Project.shares_knowledge
    )
    return len(session.scalars(sharing.with_for_update(read=True)).all()) == len(about["projects"])


def read_shared(session: Session) -> tuple[list[RecordedTask], dict[str, Configuration]]:
    """Tasks that all may learn from with their trials, and configurations by key."""
    rows = session.scalars(
        select(KnowledgeTask)
        .where(KnowledgeTask.is_shared | KnowledgeTask.project_id.is_(None))
        .order_by(KnowledgeTask.fingerprint, KnowledgeTask.id)
    ).all()
    tasks = {
        row.id: RecordedTask(
            row.group,
            TaskKind(row.kind),
            row.metafeatures,
            row.constants,
            owner=None if row.project_id is None else str(row.project_id),
        )
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
    return [task for task in tasks.values() if task.losses], configurations


def is_training(session: Session, job_id: UUID) -> bool:
    """Whether a job is a training."""
    return session.scalars(select(Job.purpose).where(Job.id == job_id)).one() == JobPurpose.TRAIN
