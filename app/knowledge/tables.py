"""Knowledge: past tasks, evaluations, and what was learned from them. No rows of data, no column names."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from pgvector.sqlalchemy import Vector
from sqlalchemy import ForeignKey, Index, LargeBinary, UniqueConstraint, func, text
from sqlalchemy.orm import Mapped, mapped_column

from app.database import Base
from app.ids import new_id


class KnowledgeTask(Base):
    """A task that some job worked on. Two jobs on the same data and question share one."""

    __tablename__ = "knowledge_tasks"
    __table_args__ = (
        UniqueConstraint("project_id", "fingerprint", postgresql_nulls_not_distinct=True),
        Index("ix_knowledge_tasks_shared", "id", postgresql_where=text("is_shared OR project_id IS NULL")),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    #: whose it is; NULL: seed or imported, and everybody's
    project_id: Mapped[UUID | None] = mapped_column(ForeignKey("projects.id", ondelete="CASCADE"), index=True)
    #: of its evaluations some are for all projects
    is_shared: Mapped[bool] = mapped_column(default=False, server_default=text("false"))
    fingerprint: Mapped[str] = mapped_column(index=True)  #: SHA-256 over data digest, features and question
    group: Mapped[str]  #: same or overlapping data; replay membership hashes this
    kind: Mapped[str]
    metafeatures: Mapped[dict[str, Any]]
    #: every metric of the best constant prediction
    constants: Mapped[dict[str, Any]] = mapped_column(default=dict, server_default=text("'{}'"))
    sketch: Mapped[bytes | None] = mapped_column(LargeBinary)  #: MinHash of rows
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class KnowledgeEvaluation(Base):
    """A trial as knowledge keeps it: canonical JSON, design section 6."""

    __tablename__ = "knowledge_evaluations"
    __table_args__ = (Index("ix_knowledge_evaluations_tried", "task_id", "configuration_key"),)

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    task_id: Mapped[UUID] = mapped_column(ForeignKey("knowledge_tasks.id", ondelete="CASCADE"), index=True)
    job_id: Mapped[UUID | None] = mapped_column(ForeignKey("jobs.id", ondelete="SET NULL"), index=True)
    #: digest of configuration and learner version, the same wherever the same was tried; NULL: not at full fidelity
    configuration_key: Mapped[str | None] = mapped_column(index=True)
    #: its job let all projects learn from it; of tasks without a project all are
    is_shared: Mapped[bool] = mapped_column(default=False, server_default=text("false"))
    #: configuration, versions, fidelity, folds, status, reason, metrics, seconds, MB, cores, speed, source
    evaluation: Mapped[dict[str, Any]]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class MetamodelState(StrEnum):
    """One champion a role; every version is kept."""

    CHALLENGER = "challenger"  #: trained, not yet or not proven better
    CHAMPION = "champion"
    RETIRED = "retired"  #: was a champion, or what it learned from is gone


class Metamodel(Base):
    """A network, or a simpler thing, learned across tasks."""

    __tablename__ = "metamodels"
    __table_args__ = (
        UniqueConstraint("name", "version"),
        Index("ix_metamodels_champion", "role", unique=True, postgresql_where=text("state = 'champion'")),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    role: Mapped[str]  #: what it is for: embedding, or leading searches on a sort of target, as mann-regression
    name: Mapped[str]  #: of `workers.engine.catalog.METAMODELS`
    version: Mapped[int]  #: 1, 2, 3, … a name
    state: Mapped[str]
    blob_key: Mapped[str]
    sha256: Mapped[str]
    learned_from: Mapped[dict[str, Any]]  #: {"tasks": n, "evaluations": n, "projects": [ids]}
    replay: Mapped[dict[str, Any]] = mapped_column(default=dict)  #: how it did on the replay groups
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    promoted_at: Mapped[datetime | None]


class KnowledgeEmbedding(Base):
    """A task as a point: near points are tasks on which the same configurations do well."""

    __tablename__ = "knowledge_embeddings"

    task_id: Mapped[UUID] = mapped_column(ForeignKey("knowledge_tasks.id", ondelete="CASCADE"), primary_key=True)
    metamodel_id: Mapped[UUID] = mapped_column(
        ForeignKey("metamodels.id", ondelete="CASCADE"), primary_key=True, index=True
    )
    embedding: Mapped[Any] = mapped_column(Vector())


class KnowledgeArchive(Base):
    """An archive that was loaded: the package's own, or one imported."""

    __tablename__ = "knowledge_archives"

    sha256: Mapped[str] = mapped_column(primary_key=True)  #: of its manifest, which names every file's
    loaded_at: Mapped[datetime] = mapped_column(server_default=func.now())


class JobKnowledge(Base):
    """What a job knew when it began: pinned, so that it can be taken up elsewhere and explained later."""

    __tablename__ = "job_knowledge"

    job_id: Mapped[UUID] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    blob_key: Mapped[str | None]  #: the matrix of losses, as the strategy had it; NULL: nothing was known
    summary: Mapped[dict[str, Any]]  #: neighbours, metamodels, how many tasks and evaluations
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
