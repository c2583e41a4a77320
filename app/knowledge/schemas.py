"""Knowledge as clients see it."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from pydantic import BaseModel

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
