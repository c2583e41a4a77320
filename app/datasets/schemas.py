"""Datasets as clients see them."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from app.text import ColumnName, Name
from workers.engine.types import ColumnKind


class ClassCount(BaseModel):
    """One value of a column and how many rows hold it."""

    value: str
    count: int


class Column(BaseModel):
    """One column."""

    name: str
    kind: ColumnKind = Field(description="How jobs use it; changed by PATCH.")
    detected_kind: ColumnKind = Field(description="What its values look like.")
    type: Literal["integer", "number", "boolean", "datetime", "text"] = Field(description="As stored.")
    distinct: int
    missing: int
    is_integer: bool = Field(description="Every value is a whole number.")
    classes: list[ClassCount] | None = Field(None, description="Every value, where there are at most 100.")
    formats: list[str] | None = Field(None, description="How dates were written, for strptime; null: ISO 8601.")


class Alert(BaseModel):
    """What to know of a column before trusting a model of it. `code` is stable."""

    model_config = ConfigDict(extra="allow")

    code: str = Field(examples=["constant", "id_like", "duplicate_column", "rare_class", "high_missing"])
    column: str
    severity: Literal["info", "warning"]
    detail: str


class DatasetSummary(BaseModel):
    """A dataset in a list."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    name: str
    format: str = Field(description="What the upload was.", examples=["csv", "parquet", "arrow", "jsonl", "arff"])
    rows: int
    n_columns: int
    stored_bytes: int
    created_at: datetime


class DatasetRead(BaseModel):
    """A dataset."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    name: str
    format: str
    sha256: str = Field(description="Of the file as it was sent, hex.")
    upload_bytes: int
    stored_bytes: int
    rows: int
    columns: list[Column] = Field(description="In the order of the file.")
    alerts: list[Alert]
    version: int = Field(description="Raised by every change; the ETag.")
    created_at: datetime


class DatasetProfile(BaseModel):
    """Statistics of every column, by name."""

    id: UUID
    rows: int
    missing_share: float
    columns: dict[str, dict[str, Any]] = Field(
        description="Per column: type, missing, missing_share, distinct; numbers: min, max, mean, std, quantiles, "
        "zeros, infinite, histogram; dates: min, max, histogram; text: top, mean_length, max_length."
    )
    alerts: list[Alert]


class DatasetPreview(BaseModel):
    """The first rows. Long texts are cut at 500 characters; infinite numbers are shown as text."""

    columns: list[str]
    rows: list[list[bool | int | float | str | None]]


class DatasetUpdate(BaseModel):
    """Another name, other column kinds."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"kinds": {"zip": "category"}}]})

    name: Name | None = None
    kinds: dict[ColumnName, ColumnKind | None] = Field(
        {}, max_length=20_000, description="Kind by column name; null goes back to the detected kind."
    )
