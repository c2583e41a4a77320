"""Predictions as clients send and see them. The predictor reads and writes these bytes; the models document them."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field


class PredictionRequest(BaseModel):
    """Rows to predict."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"rows": [{"age": 41, "job": "teacher"}]}]}
    )

    rows: list[dict[str, Any]] = Field(
        description="Each an object of column: value, as the model's input_schema says. null: the value is missing."
    )


class PredictionWarning(BaseModel):
    """Something that was answered, but may not be what was meant."""

    pointer: str = Field(description="JSON Pointer into the request.")
    detail: str


class PredictionsRead(BaseModel):
    """Predictions in the order of the rows."""

    model_config = ConfigDict(protected_namespaces=())

    model_id: UUID
    model_version: int = Field(description="A running job raises it whenever it publishes a better model.")
    predictions: list[str | float] = Field(description="Labels, or numbers in regression.")
    probabilities: list[dict[str, float]] | None = Field(None, description="By label; absent in regression.")
    warnings: list[PredictionWarning] = Field(description="Unseen categories, ignored columns.")
