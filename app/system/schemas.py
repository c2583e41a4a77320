"""What the system's routes answer."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field


class Health(BaseModel):
    """The process answers."""

    status: Literal["ok"] = "ok"


class Readiness(BaseModel):
    """Each part: "ok", or what is wrong with it."""

    ready: bool
    database: str
    migrations: str
    disk: str


class SpaceOfKind(BaseModel):
    """Hyperparameters of every learner that can do a kind of task."""

    version: str
    learners: dict[str, list[dict[str, Any]]]


class SpaceRead(BaseModel):
    """What jobs may name, and the space that they search."""

    learners: list[str]
    strategies: list[str]
    metrics: dict[str, list[str]]
    default_metrics: dict[str, str]
    column_kinds: list[str]
    spaces: dict[str, SpaceOfKind] = Field(description="By kind of task.")
