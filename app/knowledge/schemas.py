"""Knowledge as clients see it."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import BaseModel, Field

from app.jobs.schemas import JobError
from app.jobs.tables import Job, JobState
from app.knowledge.forecast import Similar
from app.knowledge.tables import Metamodel
from workers.engine.types import TaskKind


class KnowledgeCount(BaseModel):
    """How much is known."""

    tasks: int
    evaluations: int


class KnowledgeRead(BaseModel):
    """What jobs of this project can learn from."""

    own: KnowledgeCount
    shared: KnowledgeCount


class KnowledgeTaskRead(BaseModel):
    """A past task."""

    id: UUID
    kind: TaskKind
    group: str
    metafeatures: dict[str, float | None]
    evaluations: int
    created_at: datetime


class Neighbour(Similar):
    """A past task that a job learned from."""

    likeness: float = Field(ge=0, le=1, description="Its share of what was said before the first trial.")


class SourceRead(BaseModel):
    """What one source of proposals brought."""

    source: str = Field(
        description="neighbour, surrogate, portfolio, optimiser: knowledge; default, halving, random: cold"
    )
    trials: int
    seconds: float = Field(description="Of its trials, one core.")
    best_score: float | None = Field(description="Best of its fully evaluated trials, in the metric's usual sense.")
    improvements: int = Field(description="How often one of its trials became the best so far.")
    gain: float = Field(description="By how much those lowered the loss of the best so far, beyond the first trial.")


class JobKnowledgeRead(BaseModel):
    """What a job knew when it began, and what that brought."""

    knowledge: str = Field(description="off, own or shared, as asked for")
    contribute: str = Field(description="none, own or shared, as asked for")
    is_warm: bool = Field(description="Past tasks told it where to begin.")
    tasks: int = Field(description="Past tasks that it learned from.")
    evaluations: int = Field(description="Their trials.")
    configurations: int = Field(description="Different ones among them.")
    metamodels: dict[str, Any] = Field(description="The versions in use, by role.")
    neighbours: list[Neighbour] = Field(description="The past tasks that are most like it.")
    seconds_saved: float | None = Field(
        description="Estimated on the past tasks most like it: by how many seconds of theirs knowledge reaches sooner "
        "what the hand-written order ends at. null: not known."
    )
    sources: list[SourceRead]


class MetamodelRead(BaseModel):
    """A version of what was learned across tasks."""

    id: UUID
    role: str
    name: str
    version: int
    state: str
    sha256: str
    learned_from: dict[str, int] = Field(description="Numbers of tasks, evaluations, projects that share them.")
    replay: dict[str, Any] = Field(description="How it did on tasks that nothing trains on.")
    created_at: datetime
    promoted_at: datetime | None

    @classmethod
    def from_row(cls, row: Metamodel) -> MetamodelRead:
        """A version as clients see it: who taught it stays untold."""
        values = {name: getattr(row, name) for name in cls.model_fields if name != "learned_from"}
        learned = row.learned_from
        counts = {name: learned[name] for name in ("tasks", "evaluations") if isinstance(learned.get(name), int)}
        return cls(**values, learned_from=counts | {"projects": len(learned.get("projects", ()))})


class TrainingRead(BaseModel):
    """A job that trains metamodels on all that is shared, and lets them challenge the champions."""

    id: UUID
    state: JobState
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    progress: dict[str, Any] = Field(description="What it does; in the end each challenger, its verdict, and why.")
    error: JobError | None

    @classmethod
    def from_row(cls, row: Job) -> TrainingRead:
        """A training as clients see it."""
        return cls.model_validate(row, from_attributes=True)
