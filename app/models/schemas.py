"""Models as clients see them."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from workers.engine.types import TaskKind


class ScoreRead(BaseModel):
    """An honest score with its 95 % interval."""

    model_config = ConfigDict(extra="allow")

    metric: str
    value: float
    low: float
    high: float
    method: str = Field(description="bbc-cv: out of fold, corrected for selection; holdout: rows that nothing else saw")
    rows: int


class MemberRead(BaseModel):
    """A part of the model."""

    model_config = ConfigDict(extra="allow")

    trial: int
    learner: str
    weight: float


class ModelSummary(BaseModel):
    """A model in a list."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    job_id: UUID
    dataset_id: UUID
    version: int = Field(description="Raised whenever a better one is published; the ETag.")
    is_final: bool = Field(description="false: the best so far of a running or cancelled job")
    kind: TaskKind
    target: str
    metric: str
    score: ScoreRead
    members: list[MemberRead]
    sha256: str = Field(description="Of the bundle, hex")
    bytes: int
    created_at: datetime
    updated_at: datetime


class ModelRead(ModelSummary):
    """A model."""

    input_schema: dict[str, Any] = Field(description="JSON Schema of one row.")
