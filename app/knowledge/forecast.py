"""What past tasks say of a job before it runs: which ones are like it, and the score to expect."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

import numpy as np
from pydantic import BaseModel, Field
from sqlalchemy.orm import Session

from app.knowledge import repository
from app.knowledge.repository import Neighbour
from app.knowledge.tables import Metamodel
from app.knowledge.traits import shared_traits
from workers.engine.evaluation.metrics import greater_is_better, to_score
from workers.engine.meta.constants import absolute_loss, relative_loss
from workers.engine.meta.forecast import FEWEST, LANDMARK, NEAREST, forecast
from workers.engine.meta.likeness import likeness_of
from workers.engine.types import TaskKind

_SHOWN = 10  # neighbours


class Similar(BaseModel):
    """A past task near another one."""

    task_id: UUID
    own: bool = Field(description="Of the caller's project; else shared, or shipped with the package.")
    kind: TaskKind
    distance: float = Field(ge=0)
    shared_traits: list[str] = Field(description="Metafeatures in which the two are most alike.")


class Expected(BaseModel):
    """What a score is likely to be, in the metric's usual sense."""

    metric: str
    score: float
    low: float = Field(description="Of ten past tasks, one ended below.")
    high: float = Field(description="Of ten past tasks, one ended above.")


class Forecast(BaseModel):
    """What past tasks say of one that has not been worked on."""

    tasks: int = Field(description="Past tasks that were asked.")
    neighbours: list[Similar] = Field(description="Those that are most like it.")
    expected: Expected | None = Field(description="The best trial's score by validation; null: too little is known.")


def foretell(
    session: Session, project_id: UUID, spec: Mapping[str, Any], metamodel: Metamodel, seen: Mapping[str, Any]
) -> Forecast:
    """What the project's knowledge says of a resolved spec.

    Args:
        session: of the caller.
        project_id: who asks.
        spec: what is asked.
        metamodel: the embedding in use.
        seen: `metafeatures`, `constants` and `embedding` of the task.
    """
    kinds = TaskKind(spec["kind"]).alike
    scope = spec["knowledge"]
    near = repository.list_nearest(session, project_id, scope, kinds, metamodel.id, seen["embedding"], NEAREST)
    metafeatures = repository.list_metafeatures(session, [task.id for task in near])
    neighbours = [
        Similar(
            task_id=task.id,
            own=task.is_own,
            kind=TaskKind(task.kind),
            distance=task.distance,
            shared_traits=shared_traits(seen["metafeatures"], metafeatures[task.id]),
        )
        for task in near[:_SHOWN]
    ]
    expected = _expect(session, project_id, spec, near, metafeatures, seen)
    return Forecast(tasks=len(near), neighbours=neighbours, expected=expected)


def _expect(
    session: Session,
    project_id: UUID,
    spec: Mapping[str, Any],
    near: Sequence[Neighbour],
    metafeatures: Mapping[UUID, Mapping[str, float]],
    seen: Mapping[str, Any],
) -> Expected | None:
    metric, ids = spec["metric"], [task.id for task in near]
    constants = repository.list_constants(session, ids, metric)
    is_greater = greater_is_better(metric)
    best = repository.list_best_scores(
        session, project_id, spec["knowledge"], ids, metric, is_greater_better=is_greater
    )
    told = [task for task in near if task.id in constants and task.id in best and LANDMARK in metafeatures[task.id]]
    if len(told) < FEWEST or LANDMARK not in seen["metafeatures"] or metric not in seen["constants"]:
        return None
    found = forecast(
        seen["metafeatures"][LANDMARK],
        np.array([metafeatures[task.id][LANDMARK] for task in told]),
        np.array([relative_loss(metric, best[task.id], constants[task.id]) for task in told]),
        likeness_of(np.array([task.distance for task in told])),
    )
    losses = (absolute_loss(metric, one, seen["constants"][metric]) for one in (found.low, found.middle, found.high))
    low, score, high = (round(to_score(metric, loss), 6) for loss in losses)
    return Expected(metric=metric, score=score, low=min(low, high), high=max(low, high))
