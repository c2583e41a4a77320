"""Projects and keys as clients see them."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StrictBool

from app.security import KeyScope
from app.text import Name


class Quotas(BaseModel):
    """What a project may use at once."""

    model_config = ConfigDict(extra="forbid")

    running_jobs: int | None = Field(None, ge=1, le=1_000_000, description="null: the service's default")
    queued_jobs: int | None = Field(None, ge=1, le=10_000_000, description="null: the service's default")
    bytes: int | None = Field(None, ge=1, le=2**60, description="null: the service's default")


class ProjectCreate(BaseModel):
    """A new tenant."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"name": "credit-risk"}]})

    name: Name
    quotas: Quotas = Quotas()
    shares_knowledge: StrictBool = Field(
        False, description="Jobs with contribute=shared let every project learn from them."
    )


class ProjectUpdate(BaseModel):
    """What to change; what is absent stays."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"quotas": {"running_jobs": 4}}]})

    quotas: Quotas | None = None
    shares_knowledge: StrictBool | None = Field(
        None, description="false: also what was shared is the project's own again."
    )


class Usage(BaseModel):
    """What a project uses now."""

    running_jobs: int
    queued_jobs: int
    bytes: int


class EffectiveQuotas(BaseModel):
    """What a project may use, defaults filled in."""

    running_jobs: int
    queued_jobs: int
    bytes: int


class ProjectRead(BaseModel):
    """A project."""

    id: UUID
    name: str
    quotas: EffectiveQuotas
    shares_knowledge: bool
    created_at: datetime


class ProjectDetail(ProjectRead):
    """A project and what it uses."""

    usage: Usage


class KeyCreate(BaseModel):
    """A new key, of the caller's project unless an operator names another."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"name": "nightly retraining", "scopes": ["write"]}]}
    )

    name: Name
    scopes: list[KeyScope] = Field([KeyScope.WRITE], min_length=1, max_length=4)
    expires_at: AwareDatetime | None = Field(None, description="null: never")
    project_id: UUID | None = None


class KeyRead(BaseModel):
    """A key, without its secret."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    project_id: UUID
    name: str
    prefix: str = Field(description="How the secret begins, to recognise it by")
    scopes: list[KeyScope]
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None


class KeyCreated(KeyRead):
    """A new key with its secret, shown this once."""

    secret: str
