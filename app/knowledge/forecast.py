"""What past tasks say of a job before it runs: which ones are like it, and the score to expect."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

import numpy as np
from pydantic import BaseModel, Field
from sqlalchemy.orm import Session

from app.knowledge import repository
from app.knowledge.repository import Neighbour
from app.knowledge.traits import shared_traits
from workers.engine.evaluation.metrics import greater_is_better, to_score
from workers.engine.meta.constants import absolute_loss, relative_loss
from workers.engine.meta.forecast import FEWEST, LANDMARK, NEAREST, forecast
from workers.engine.meta.forecast import Forecast as RelativeForecast
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
    """What a score is likely to be, in the metric's usual sense, if the search is like those of the past tasks."""

    metric: str
    score: float
    low: float = Field(description="Of ten past tasks, one ended below.")
    high: float = Field(description="Of ten past tasks, one ended above.")


class Forecast(BaseModel):
    """What past tasks say of one that has not been worked on."""

    tasks: int = Field(description="Past tasks that the expected score rests on.")
    neighbours: list[Similar] = Field(description="Those that are most like it.")
    expected: Expected | None = Field(description="The best trial's score by validation; null: too little is known.")


def foretell(
    session: Session,
    project_id: UUID,
    spec: Mapping[str, Any],
    metamodel_id: UUID,
    learners: Mapping[str, str],
    seen: Mapping[str, Any],
) -> Forecast:
    """What the project's knowledge says of a resolved spec.

    Args:
        session: of the caller.
        project_id: who asks.
        spec: what is asked.
        metamodel_id: the embedding in use; past tasks that it has not placed yet say nothing.
        learners: versions of those that the job may use, by name.
        seen: `metafeatures`, `constants` and `embedding` of the task.
    """
    kinds = TaskKind(spec["kind"]).alike
    near = repository.list_nearest(
        session, project_id, spec["knowledge"], kinds, metamodel_id, seen["embedding"], NEAREST
    )
    metafeatures = repository.list_metafeatures(session, [task.id for task in near])
    near = [task for task in near if task.id in metafeatures]
    neighbours = [as_similar(task, seen["metafeatures"], metafeatures[task.id]) for task in near[:_SHOWN]]
    metric, ids = spec["metric"], [task.id for task in near]
    best = repository.list_best_scores(
        session,
        project_id,
        spec["knowledge"],
        ids,
        metric,
        learners=learners,
        is_greater_better=greater_is_better(metric),
    )
    constants = repository.list_constants(session, ids, metric)
    told = [task for task in near if task.id in constants and task.id in best and LANDMARK in metafeatures[task.id]]
    expected = None
    if len(told) >= FEWEST and LANDMARK in seen["metafeatures"]:
        found = forecast(
            seen["metafeatures"][LANDMARK],
            np.array([metafeatures[task.id][LANDMARK] for task in told]),
            np.array([relative_loss(metric, best[task.id], constants[task.id]) for task in told]),
            likeness_of(np.array([task.distance for task in told])),
        )
        expected = _to_scores(metric, found, seen["constants"].get(metric, float("nan")))
    return Forecast(tasks=len(told), neighbours=neighbours, expected=expected)


def as_similar(task: Neighbour, mine: Mapping[str, float], others: Mapping[str, float]) -> Similar:
    """A neighbour as clients see it, given the metafeatures of both tasks."""
    return Similar(
        task_id=task.id,
        own=task.is_own,
        kind=TaskKind(task.kind),
        distance=task.distance,
        shared_traits=shared_traits(mine, others),
    )


def _to_scores(metric: str, found: RelativeForecast, constant: float) -> Expected | None:
    """None if no constant prediction has a score, so that there is nothing to compare with."""
    losses = (absolute_loss(metric, loss, constant) for loss in (found.low, found.middle, found.high))
    low, score, high = (to_score(metric, loss) for loss in losses)
    if not np.isfinite([low, score, high]).all():
        return None
    return Expected(metric=metric, score=score, low=min(low, high), high=max(low, high))
