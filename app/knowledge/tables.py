"""Knowledge: past tasks and evaluations. No rows of data, no column names."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ForeignKey, LargeBinary, UniqueConstraint, func
from sqlalchemy.orm import Mapped, mapped_column

from app.database import Base
from app.ids import new_id


class KnowledgeTask(Base):
    """A task that some job worked on. Two jobs on the same data and question share one."""

    __tablename__ = "knowledge_tasks"
    __table_args__ = (UniqueConstraint("project_id", "fingerprint", postgresql_nulls_not_distinct=True),)

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    #: whose it is; NULL: seed or shared with all
    project_id: Mapped[UUID | None] = mapped_column(ForeignKey("projects.id", ondelete="CASCADE"), index=True)
    fingerprint: Mapped[str] = mapped_column(index=True)  #: SHA-256 over data digest, kind, target's place, validation
    group: Mapped[str]  #: same or overlapping data; replay membership hashes this
    kind: Mapped[str]
    metafeatures: Mapped[dict[str, Any]]
    sketch: Mapped[bytes | None] = mapped_column(LargeBinary)  #: MinHash of rows
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class KnowledgeEvaluation(Base):
    """A trial as knowledge keeps it: canonical JSON, design section 6."""

    __tablename__ = "knowledge_evaluations"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    task_id: Mapped[UUID] = mapped_column(ForeignKey("knowledge_tasks.id", ondelete="CASCADE"), index=True)
    job_id: Mapped[UUID | None] = mapped_column(ForeignKey("jobs.id", ondelete="SET NULL"), index=True)
    #: configuration, versions, fidelity, folds, status, reason, metrics, seconds, MB, cores, speed, source
    evaluation: Mapped[dict[str, Any]]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
