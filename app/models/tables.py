"""Models: what jobs yield."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ForeignKey, func
from sqlalchemy.orm import Mapped, mapped_column

from app.database import Base
from app.ids import new_id


class Model(Base):
    """The model of a job: one row a job, replaced as it improves while the job runs, then final."""

    __tablename__ = "models"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    project_id: Mapped[UUID] = mapped_column(ForeignKey("projects.id", ondelete="CASCADE"), index=True)
    job_id: Mapped[UUID] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), unique=True)
    dataset_id: Mapped[UUID]
    version: Mapped[int] = mapped_column(default=1)  #: raised by every publication
    is_final: Mapped[bool] = mapped_column(default=False)
    kind: Mapped[str]
    target: Mapped[str]
    metric: Mapped[str]
    score: Mapped[dict[str, Any]]  #: `workers.engine.types.Score`
    members: Mapped[list[Any]]  #: [{"trial", "learner", "weight"}]
    input_schema: Mapped[dict[str, Any]]  #: JSON Schema of one row
    blob_key: Mapped[str]
    sha256: Mapped[str]
    bytes: Mapped[int]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    updated_at: Mapped[datetime] = mapped_column(server_default=func.now())
