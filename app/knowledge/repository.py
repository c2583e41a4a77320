"""Knowledge: what finished jobs leave behind, and selects on it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Double, Row, cast, delete, func, or_, select, true, tuple_, union, update
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, TEXT, distinct_on, insert
from sqlalchemy.orm import Session

from app.jobs.tables import Job
from app.knowledge.tables import (
    JobKnowledge,
    KnowledgeEmbedding,
    KnowledgeEvaluation,
    KnowledgeTask,
    Metamodel,
    MetamodelState,
)
from app.pagination import PageRequest
from workers.engine.meta.evaluations import TELLS_NOTHING, key_of


@dataclass(frozen=True, kw_only=True)
class TaskDescription:
    """A task as knowledge keeps it: no rows, no column names."""

    fingerprint: str  #: SHA-256 over data digest, features and question
    group: str  #: same or overlapping data
    kind: str
    metafeatures: Mapping[str, float]
    constants: Mapping[str, float]  #: every metric of the best constant prediction
    sketch: bytes | None = field(default=None, repr=False)  #: MinHash of rows

    def to_row(self) -> dict[str, Any]:
        """Values of a `KnowledgeTask`, but whose it is."""
        return {one.name: getattr(self, one.name) for one in fields(self)}


@dataclass(frozen=True, kw_only=True)
class Neighbour:
    """A past task near the one asked about."""

    id: UUID
    kind: str
    is_own: bool
    distance: float


def record_job(
    session: Session,
    job: Job,
    task: TaskDescription,
    evaluations: Iterable[Mapping[str, Any]],
    *,
    is_shared: bool = False,
) -> UUID:
    """Keep a finished job's task and evaluations, in the caller's transaction; the task's id.

    Idempotent: a project has one task a fingerprint, and a job's evaluations replace what it left before.

    Args:
        session: of the caller.
        job: whose they are.
        task: that it solved.
        evaluations: its trials.
        is_shared: every project may learn from them, and of the task.
    """
    values = {
        "project_id": job.project_id,
        "is_shared": is_shared,
        **task.to_row(),
    }
    upsert = insert(KnowledgeTask).values(**values)
    upsert = upsert.on_conflict_do_update(
        index_elements=["project_id", "fingerprint"],
        set_={
            "is_shared": KnowledgeTask.is_shared | upsert.excluded.is_shared,
            "metafeatures": upsert.excluded.metafeatures,
            "constants": upsert.excluded.constants,
            "sketch": upsert.excluded.sketch,
        },
    )
    task_id = session.scalars(upsert.returning(KnowledgeTask.id)).one()
    session.execute(delete(KnowledgeEvaluation).where(KnowledgeEvaluation.job_id == job.id))
    rows = [
        {
            "task_id": task_id,
            "job_id": job.id,
            "is_shared": is_shared,
            "configuration_key": key_of(evaluation),
            "evaluation": dict(evaluation),
        }
        for evaluation in evaluations
    ]
    if rows:
        session.execute(insert(KnowledgeEvaluation), rows)
    return task_id


def keep_embedding(session: Session, task_id: UUID, metamodel_id: UUID, embedding: Sequence[float]) -> None:
    """Where a metamodel sees a task."""
    values = {"task_id": task_id, "metamodel_id": metamodel_id, "embedding": list(embedding)}
    upsert = insert(KnowledgeEmbedding).values(**values)
    upsert = upsert.on_conflict_do_update(
        index_elements=["task_id", "metamodel_id"], set_={"embedding": upsert.excluded.embedding}
    )
    session.execute(upsert)


def list_unplaced(session: Session, metamodel_id: UUID, limit: int) -> list[KnowledgeTask]:
    """Tasks that an embedding has not placed yet."""
    placed = select(KnowledgeEmbedding.task_id).where(KnowledgeEmbedding.metamodel_id == metamodel_id)
    return list(session.scalars(select(KnowledgeTask).where(KnowledgeTask.id.not_in(placed)).limit(limit)))


def is_visible(project_id: UUID, scope: str) -> ColumnElement[bool]:
    """Tasks that a project may learn from: seed and its own; with scope "shared" also what others share."""
    visible = KnowledgeTask.project_id.is_(None) | (KnowledgeTask.project_id == project_id)
    return visible | KnowledgeTask.is_shared if scope == "shared" else visible


def find_champion(session: Session, role: str) -> Metamodel | None:
    """The metamodel in use for a role."""
    return session.scalars(
        select(Metamodel).where(Metamodel.role == role, Metamodel.state == MetamodelState.CHAMPION)
    ).one_or_none()


def find_leader(session: Session, project_id: UUID, scope: str, role: str) -> Metamodel | None:
    """The champion of a role; with scope "own" the latest in use that no other project taught."""
    champion = find_champion(session, role)
    taught = [] if champion is None else champion.learned_from.get("projects", [])
    if scope == "shared" or set(taught) <= {str(project_id)}:
        return champion
    return find_untaught(session, role)


def find_untaught(session: Session, role: str) -> Metamodel | None:
    """The latest that was ever in use for a role and that no project's tasks taught."""
    query = select(Metamodel).where(
        Metamodel.role == role,
        Metamodel.promoted_at.is_not(None),
        func.coalesce(Metamodel.learned_from["projects"], cast([], JSONB)) == cast([], JSONB),
    )
    return session.scalars(query.order_by(Metamodel.promoted_at.desc()).limit(1)).one_or_none()


def find_visible_task(session: Session, project_id: UUID, task_id: UUID) -> KnowledgeTask | None:
    """A past task that the project may learn from."""
    query = select(KnowledgeTask).where(KnowledgeTask.id == task_id, is_visible(project_id, "shared"))
    return session.scalars(query).one_or_none()


def find_embedding(session: Session, task_id: UUID, metamodel_id: UUID) -> list[float] | None:
    """Where a metamodel sees a task."""
    found = session.get(KnowledgeEmbedding, (task_id, metamodel_id))
    return None if found is None else [float(number) for number in found.embedding]


def list_own_tasks(session: Session, project_id: UUID) -> list[KnowledgeTask]:
    """All of the project's own."""
    query = select(KnowledgeTask).where(KnowledgeTask.project_id == project_id)
    return list(session.scalars(query.order_by(KnowledgeTask.id)))


def list_sketches(session: Session, project_id: UUID, most: int) -> list[tuple[str, bytes]]:
    """(group, sketch of its rows) of tasks that the project may learn from, the newest first."""
    query = select(KnowledgeTask.group, KnowledgeTask.sketch).where(
        is_visible(project_id, "shared"), KnowledgeTask.sketch.is_not(None)
    )
    rows = session.execute(query.order_by(KnowledgeTask.id.desc()).limit(most))
    return [(group, sketch) for group, sketch in rows if sketch is not None]


def list_evaluations(session: Session, task_ids: Sequence[UUID]) -> Iterator[tuple[UUID, dict[str, Any]]]:
    """(task, evaluation) of these tasks, those at full fidelity, in order."""
    query = select(KnowledgeEvaluation.task_id, KnowledgeEvaluation.evaluation).where(
        KnowledgeEvaluation.task_id.in_(task_ids), KnowledgeEvaluation.configuration_key.is_not(None)
    )
    rows = session.execute(query.order_by(KnowledgeEvaluation.id).execution_options(yield_per=1_000))
    yield from ((task_id, evaluation) for task_id, evaluation in rows)


def list_embeddings(session: Session, task_ids: Sequence[UUID]) -> list[KnowledgeEmbedding]:
    """Where metamodels see these tasks."""
    return list(session.scalars(select(KnowledgeEmbedding).where(KnowledgeEmbedding.task_id.in_(task_ids))))


def list_metamodels(session: Session, page: PageRequest) -> list[Metamodel]:
    """Every version, newest first, one more than the page."""
    query = select(Metamodel).order_by(Metamodel.id.desc()).limit(page.limit + 1)
    if (after := page.after_id()) is not None:
        query = query.where(Metamodel.id < after)
    return list(session.scalars(query))


def list_nearest(
    session: Session,
    project_id: UUID,
    scope: str,
    kinds: Sequence[str],
    metamodel_id: UUID,
    embedding: Sequence[float],
    limit: int,
) -> list[Neighbour]:
    """Visible past tasks of these kinds, nearest first; an exact scan."""
    distance = KnowledgeEmbedding.embedding.l2_distance(list(embedding))
    query = (
        select(KnowledgeTask.id, KnowledgeTask.kind, KnowledgeTask.project_id, distance)
        .join(KnowledgeEmbedding, KnowledgeEmbedding.task_id == KnowledgeTask.id)
        .where(
            KnowledgeEmbedding.metamodel_id == metamodel_id,
            KnowledgeTask.kind.in_(kinds),
            is_visible(project_id, scope),
        )
        .order_by(distance, KnowledgeTask.id)
        .limit(limit)
    )
    return [
        Neighbour(id=task_id, kind=kind, is_own=owner == project_id, distance=float(far))
        for task_id, kind, owner, far in session.execute(query)
    ]


def list_constants(session: Session, task_ids: Sequence[UUID], metric: str) -> dict[UUID, float]:
    """What the best constant prediction scores on these tasks, where that is known."""
    score = cast(KnowledgeTask.constants[metric].astext, Double)
    query = select(KnowledgeTask.id, score).where(KnowledgeTask.id.in_(task_ids), score.is_not(None))
    return dict(session.execute(query).all())


def list_metafeatures(session: Session, task_ids: Sequence[UUID]) -> dict[UUID, dict[str, float]]:
    """Of these tasks."""
    query = select(KnowledgeTask.id, KnowledgeTask.metafeatures).where(KnowledgeTask.id.in_(task_ids))
    return dict(session.execute(query).all())


def is_told(project_id: UUID, scope: str) -> ColumnElement[bool]:
    """Evaluations, beside their tasks, that a project may learn from."""
    told = KnowledgeTask.project_id.is_(None) | (KnowledgeTask.project_id == project_id)
    return told | KnowledgeEvaluation.is_shared if scope == "shared" else told


def _is_of(learners: Mapping[str, str]) -> ColumnElement[bool]:
    """Evaluations of learners by their version."""
    evaluation = KnowledgeEvaluation.evaluation
    learner = evaluation["configuration"]["learner"].astext
    return tuple_(learner, evaluation["learner_version"].astext).in_(list(learners.items()))


def list_scores(
    session: Session,
    project_id: UUID,
    scope: str,
    task_ids: Sequence[UUID],
    metric: str,
    *,
    tried_by: int,
    winners_of: int,
    learners: Mapping[str, str],
    is_greater_better: bool,
) -> Sequence[Row[UUID, str, float | None, float | None]]:
    """(task, configuration key, score or None if the trial failed, seconds) of evaluations at full fidelity.

    Of configurations that at least `tried_by` of these tasks tried, and of the best one of each of the first
    `winners_of` tasks among these learners of these versions: what else only one has tried (long jobs try hundreds)
    says nothing of others. Trials that a clock ended say nothing either.
    """
    score = cast(KnowledgeEvaluation.evaluation["metrics"][metric].astext, Double)
    seconds = cast(KnowledgeEvaluation.evaluation["cpu_seconds"].astext, Double)
    status = KnowledgeEvaluation.evaluation["status"].astext
    key = KnowledgeEvaluation.configuration_key
    told = (key.is_not(None), status.not_in(TELLS_NOTHING), is_told(project_id, scope))
    common = (
        select(key)
        .where(KnowledgeEvaluation.task_id.in_(task_ids), key.is_not(None))
        .group_by(key)
        .having(func.count(KnowledgeEvaluation.task_id.distinct()) >= tried_by)
    )
    best = (
        select(key)
        .join(KnowledgeTask, KnowledgeTask.id == KnowledgeEvaluation.task_id)
        .where(KnowledgeEvaluation.task_id.in_(task_ids[:winners_of]), score.is_not(None), *told)
        .where(_is_of(learners))
        .ext(distinct_on(KnowledgeEvaluation.task_id))
        .order_by(KnowledgeEvaluation.task_id, score.desc() if is_greater_better else score, key)
    )
    return session.execute(
        select(KnowledgeEvaluation.task_id, key, score, seconds)
        .join(KnowledgeTask, KnowledgeTask.id == KnowledgeEvaluation.task_id)
        .where(KnowledgeEvaluation.task_id.in_(task_ids), key.in_(union(common, best.subquery().select())), *told)
        .order_by(KnowledgeEvaluation.id)
    ).all()


def list_best_scores(
    session: Session,
    project_id: UUID,
    scope: str,
    task_ids: Sequence[UUID],
    metric: str,
    *,
    learners: Mapping[str, str],
    is_greater_better: bool,
) -> dict[UUID, float]:
    """The best score on each of these tasks of these versions of learners, where there is one.

    At full fidelity, and of trials that no clock ended.
    """
    score = cast(KnowledgeEvaluation.evaluation["metrics"][metric].astext, Double)
    best = func.max(score) if is_greater_better else func.min(score)
    query = (
        select(KnowledgeEvaluation.task_id, best)
        .join(KnowledgeTask, KnowledgeTask.id == KnowledgeEvaluation.task_id)
        .where(
            KnowledgeEvaluation.task_id.in_(task_ids),
            KnowledgeEvaluation.configuration_key.is_not(None),
            KnowledgeEvaluation.evaluation["status"].astext.not_in(TELLS_NOTHING),
            score.is_not(None),
            is_told(project_id, scope),
            _is_of(learners),
        )
        .group_by(KnowledgeEvaluation.task_id)
    )
    return dict(session.execute(query).all())


def list_configurations(session: Session, keys: Collection[str]) -> list[Row[str, dict[str, Any], str]]:
    """(key, configuration, learner version) of these keys."""
    wanted = func.unnest(cast(list(keys), ARRAY(TEXT))).table_valued("key", name="wanted").render_derived()
    evaluation = KnowledgeEvaluation.evaluation
    one = (
        select(
            cast(evaluation["configuration"], JSONB).label("configuration"),
            evaluation["learner_version"].astext.label("version"),
        )
        .where(KnowledgeEvaluation.configuration_key == wanted.c.key)
        .limit(1)
        .lateral("one")
    )
    return list(session.execute(select(wanted.c.key, one.c.configuration, one.c.version).join(one, true())))


def pin_knowledge(session: Session, job_id: UUID, blob_key: str | None, summary: Mapping[str, Any]) -> JobKnowledge:
    """What a job knows from now on; again changes nothing, and answers what was pinned first."""
    values = {"job_id": job_id, "blob_key": blob_key, "summary": dict(summary)}
    session.execute(insert(JobKnowledge).values(values).on_conflict_do_nothing())
    return session.get_one(JobKnowledge, job_id, populate_existing=True)


def find_pinned(session: Session, job: Job) -> JobKnowledge | None:
    """What a job knew when it began; one that goes on from a parent knows what that knew."""
    own = session.get(JobKnowledge, job.id)
    return own if own is not None or job.parent_job_id is None else session.get(JobKnowledge, job.parent_job_id)


def count(session: Session, project_id: UUID) -> dict[str, tuple[int, int]]:
    """(tasks, evaluations) of the project itself ("own"), and of what others share or came with the package."""
    is_shared = or_(KnowledgeTask.project_id.is_(None), KnowledgeTask.project_id != project_id)
    query = (
        select(
            is_shared,
            func.count(KnowledgeTask.id.distinct()),
            func.count(KnowledgeEvaluation.id),
        )
        .outerjoin(KnowledgeEvaluation, KnowledgeEvaluation.task_id == KnowledgeTask.id)
        .where(is_visible(project_id, "shared"))
        .group_by(is_shared)
    )
    counts = {"own": (0, 0), "shared": (0, 0)}
    for shared, tasks, evaluations in session.execute(query):
        counts["shared" if shared else "own"] = (tasks, evaluations)
    return counts


def list_tasks(session: Session, project_id: UUID, page: PageRequest) -> list[Row[KnowledgeTask, int]]:
    """The project's tasks with their number of evaluations, newest first, one more than the page."""
    evaluations = (
        select(func.count()).where(KnowledgeEvaluation.task_id == KnowledgeTask.id).correlate(KnowledgeTask)
    ).scalar_subquery()
    query = select(KnowledgeTask, evaluations).where(KnowledgeTask.project_id == project_id)
    if (after := page.after_id()) is not None:
        query = query.where(KnowledgeTask.id < after)
    return list(session.execute(query.order_by(KnowledgeTask.id.desc()).limit(page.limit + 1)))


def stop_sharing(session: Session, project_id: UUID) -> None:
    """What the project shared is its own again, and no metamodel that learned from it is used."""
    session.execute(update(KnowledgeTask).where(KnowledgeTask.project_id == project_id).values(is_shared=False))
    own = select(KnowledgeTask.id).where(KnowledgeTask.project_id == project_id)
    evaluations = update(KnowledgeEvaluation).where(KnowledgeEvaluation.task_id.in_(own))
    session.execute(evaluations.values(is_shared=False).execution_options(synchronize_session=False))
    retire_learned_from(session, project_id)


def forgotten(learned_from: Mapping[str, Any]) -> dict[str, Any]:
    """What a metamodel keeps of its teachers when one of them is gone: it is not to be used again."""
    return {**learned_from, "forgotten": True}


def retire_learned_from(session: Session, project_id: UUID) -> None:
    """Retire metamodels that a project's tasks taught; where one was champion, the latest that none taught is again."""
    taught = Metamodel.learned_from["projects"].contains([str(project_id)])
    for metamodel in session.scalars(select(Metamodel).where(taught).with_for_update()):
        was_champion = metamodel.state == MetamodelState.CHAMPION
        metamodel.state = MetamodelState.RETIRED
        metamodel.learned_from = forgotten(metamodel.learned_from)
        session.flush()
        if was_champion:
            again = find_untaught(session, metamodel.role)
            if again is not None:
                again.state = MetamodelState.CHAMPION
