"""Datasets: uploaded tables, kept as Parquet."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ForeignKey, func
from sqlalchemy.orm import Mapped, mapped_column

from app.database import Base
from app.ids import new_id


class Dataset(Base):
    """One uploaded table."""

    __tablename__ = "datasets"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    project_id: Mapped[UUID] = mapped_column(ForeignKey("projects.id", ondelete="CASCADE"), index=True)
    name: Mapped[str]
    format: Mapped[str]  #: what the upload was: csv, parquet, arrow, jsonl, arff
    sha256: Mapped[str]  #: of the upload, hex
    upload_bytes: Mapped[int]
    blob_key: Mapped[str]  #: the Parquet file
    stored_bytes: Mapped[int]
    rows: Mapped[int]
    #: [{"name", "kind", "detected_kind", ...}] in file order; kinds as `workers.engine.types.ColumnKind`
    columns: Mapped[list[Any]]
    profile: Mapped[dict[str, Any]]
    alerts: Mapped[list[Any]]
    version: Mapped[int] = mapped_column(default=1)  #: raised by PATCH; the ETag
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    deleted_at: Mapped[datetime | None]
