"""What past tasks say of the one that a job begins: recalled once, pinned, the same wherever the job is taken up."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from uuid import UUID

import numpy as np
import structlog
from sqlalchemy.orm import Session

from app.blobs import Blobs
from app.jobs import leases
from app.jobs.leases import Fenced, Lease
from app.knowledge import repository
from app.knowledge.repository import TaskDescription
from app.knowledge.tables import JobKnowledge, Metamodel
from app.knowledge.traits import shared_traits
from workers.description import describe
from workers.engine.catalog import EMBEDDING_ROLE, get_metamodel, get_needs, leading_role
from workers.engine.evaluation.metrics import greater_is_better
from workers.engine.learners.base import Size
from workers.engine.meta.constants import relative_loss
from workers.engine.meta.embeddings import load_embedding
from workers.engine.meta.likeness import likeness_of
from workers.engine.meta.matrix import FEWEST_TASKS, Attempts
from workers.engine.meta.past import Past
from workers.engine.meta.saving import seconds_saved
from workers.engine.space import Space, canonical
from workers.engine.types import Configuration
from workers.journal import DatabaseJournal
from workers.placing import place_missing
from workers.problem import Problem

if TYPE_CHECKING:
    from workers.engine.meta.metamodel import Metamodel as SearchMetamodel

log = structlog.get_logger(__name__)

_PLACED = 200  # tasks that a job places for all, before it looks for neighbours
_WINNERS = 20  # nearest tasks whose best configuration counts, though nobody else has tried it
_SHOWN = 10  # neighbours that are explained


@dataclass(frozen=True, kw_only=True)
class Recalled:
    """Knowledge of one job; empty where nothing is known or wanted."""

    past: Past | None = None
    metamodels: Mapping[str, SearchMetamodel] = field(default_factory=dict)  #: by name, those that the strategy needs
    description: TaskDescription | None = None


def recall(journal: DatabaseJournal, problem: Problem) -> Recalled:
    """Describe the task and gather what is known of tasks like it, or read what an earlier attempt pinned.

    Never a reason to fail: a job without memories is a cold one.
    """
    if problem.knowledge == "off":
        return Recalled()
    try:
        return _recall(journal, problem)
    except Fenced:
        raise
    except Exception:  # whatever an odd table does to a statistic, the search can do without
        log.exception("nothing was recalled")
        return Recalled()


def _recall(journal: DatabaseJournal, problem: Problem) -> Recalled:
    job = journal.job
    assert job is not None
    description = describe(problem)
    with journal.database.transaction() as session:
        pinned = repository.find_pinned(session, job)
        champion = repository.find_champion(session, EMBEDDING_ROLE)
    if pinned is None:
        past: Past | None = None
        summary: dict[str, Any] = {}
        if champion is not None:
            with journal.database.transaction() as session:
                place_missing(session, journal.blobs, champion, _PLACED)
                point = embed(journal.blobs, champion, description)
                limit = journal.settings.recall_tasks
                past, summary = gather(session, job.project_id, problem, description, champion, point, limit)
                summary["metamodels"] |= _leaders(session, job.project_id, problem)
        key = None
        if past is not None:
            key = f"jobs/{job.id}/knowledge-{journal.lease.epoch}.npz"
            journal.blobs.put_stream(key, iter([pack(past)]))
        pinned = journal.write(lambda session: _pin(session, journal.lease, key, summary))
    known = None if pinned.blob_key is None else unpack(journal.blobs.path(pinned.blob_key).read_bytes())
    return Recalled(past=known, metamodels=_load_leaders(journal, problem, pinned), description=description)


def _leaders(session: Session, project_id: UUID, problem: Problem) -> dict[str, dict[str, Any]]:
    """What the strategy needs, by role: the champions, or what only the package and this project taught."""
    roles = [leading_role(name, problem.task.kind) for name in get_needs(problem.plan.strategy)]
    found = {role: repository.find_leader(session, project_id, problem.knowledge, role) for role in roles}
    return {role: _named(metamodel) for role, metamodel in found.items() if metamodel is not None}


def _load_leaders(journal: DatabaseJournal, problem: Problem, pinned: JobKnowledge) -> dict[str, SearchMetamodel]:
    """By name, those that were pinned."""
    loaded: dict[str, SearchMetamodel] = {}
    for name in get_needs(problem.plan.strategy):
        about = pinned.summary.get("metamodels", {}).get(leading_role(name, problem.task.kind))
        if about is None:
            continue
        with journal.database.transaction() as session:
            metamodel = session.get_one(Metamodel, UUID(about["id"]))
        if (leader := load_leader(journal.blobs, metamodel)) is not None:
            loaded[name] = leader
    return loaded


def load_leader(blobs: Blobs, metamodel: Metamodel) -> SearchMetamodel | None:
    """None if it is of another format, or damaged: its strategy can do without."""
    try:
        return get_metamodel(metamodel.name).load(blobs.path(metamodel.blob_key))
    except Exception:  # whatever is wrong with the file
        log.exception("a metamodel could not be loaded", metamodel=_named(metamodel))
        return None


def _named(metamodel: Metamodel) -> dict[str, Any]:
    return {"id": str(metamodel.id), "name": metamodel.name, "version": metamodel.version}


def _pin(session: Session, lease: Lease, key: str | None, summary: dict[str, Any]) -> JobKnowledge:
    """Under the lease; whoever pinned first is right."""
    leases.hold(session, lease)
    return repository.pin_knowledge(session, lease.job_id, key, summary)


def gather(
    session: Session,
    project_id: UUID,
    problem: Problem,
    description: TaskDescription,
    metamodel: Metamodel,
    embedding: Sequence[float],
    limit: int,
) -> tuple[Past | None, dict[str, Any]]:
    """The matrix of the nearest tasks, and a summary of it for people."""
    kind = problem.task.kind
    near = repository.list_nearest(session, project_id, problem.knowledge, kind.alike, metamodel.id, embedding, limit)
    metric = problem.task.metric
    constants = repository.list_constants(session, [task.id for task in near], metric)
    near = [task for task in near if task.id in constants]
    ids = [task.id for task in near]
    size = Size(rows=len(problem.y), columns=len(problem.table.schema.fields), classes=len(problem.task.classes))
    space = Space(problem.plan.algorithms, kind, size)
    rows = repository.list_scores(
        session,
        project_id,
        problem.knowledge,
        ids,
        metric,
        tried_by=FEWEST_TASKS,
        winners_of=_WINNERS,
        learners={name: space.version_of(name) for name in space.learners},
        is_greater_better=greater_is_better(metric),
    )
    places = {task.id: place for place, task in enumerate(near)}
    tasks, keys, losses, seconds = [], [], [], []
    for task_id, key, score, took in rows:
        place = places[task_id]
        tasks.append(place)
        keys.append(key)
        losses.append(float("nan") if score is None else relative_loss(metric, score, constants[task_id]))
        seconds.append(float("nan") if took is None else took)
    configurations = _usable(space, repository.list_configurations(session, set(keys)))
    distances = np.array([task.distance for task in near])
    likeness = likeness_of(distances)
    made = Attempts(tasks, keys, losses, seconds).to_past(configurations, likeness, winners=_WINNERS) if near else None
    past, used = (None, np.array([], dtype=np.intp)) if made is None else made
    shown = [near[place].id for place in used[:_SHOWN]]
    seen = repository.list_metafeatures(session, shown)
    summary = {
        "metamodels": {metamodel.role: _named(metamodel)},
        "tasks": len(used),
        "evaluations": len(keys),
        "configurations": 0 if past is None else len(past.configurations),
        "seconds_saved": None if past is None else _saved(past, space),
        "neighbours": [
            {
                "task_id": str(near[place].id),
                "own": near[place].is_own,
                "kind": near[place].kind,
                "distance": round(near[place].distance, 4),
                "likeness": round(float(likeness[place] / likeness[used].sum()), 4),
                "shared_traits": shared_traits(description.metafeatures, seen[near[place].id]),
            }
            for place in used[:_SHOWN]
        ],
    }
    return past, summary


def _saved(past: Past, space: Space) -> float | None:
    """Estimated seconds, on the past tasks' tables, by which knowledge is ahead of the hand-written order."""
    places = {canonical(configuration): place for place, configuration in enumerate(past.configurations)}
    cold = [places[text] for text in map(canonical, space.defaults()) if text in places]
    saved = seconds_saved(past, cold)
    return None if saved is None else round(saved, 2)


def pack(past: Past) -> bytes:
    """As a file without pickle."""
    buffer = io.BytesIO()
    configurations = np.frombuffer(json.dumps([dict(one) for one in past.configurations]).encode(), dtype=np.uint8)
    np.savez_compressed(buffer, losses=past.losses, likeness=past.weights, configurations=configurations)
    return buffer.getvalue()


def unpack(data: bytes) -> Past:
    """What `pack` made."""
    with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
        configurations = json.loads(arrays["configurations"].tobytes())
        return Past(configurations, arrays["losses"], arrays["likeness"])


def embed(blobs: Blobs, metamodel: Metamodel, description: TaskDescription) -> list[float]:
    """Where a metamodel sees a task."""
    loaded = load_embedding(metamodel.name, blobs.path(metamodel.blob_key))
    return [float(number) for number in loaded.embed(description.metafeatures)]


def _usable(space: Space, rows: Sequence[tuple[str, Configuration, str]]) -> dict[str, Configuration]:
    """Configurations by key, those that this space has and whose learner has not changed since."""
    return {key: configuration for key, configuration, version in rows if space.is_current(configuration, version)}
