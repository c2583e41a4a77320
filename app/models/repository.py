"""Selects on models."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.models.tables import Model
from app.pagination import PageRequest


def find_model(session: Session, project_id: UUID, model_id: UUID, *, lock: bool = False) -> Model | None:
    """A model of this project."""
    query = select(Model).where(Model.id == model_id, Model.project_id == project_id)
    return session.scalar(query.with_for_update() if lock else query)


def list_models(session: Session, project_id: UUID, page: PageRequest, dataset_id: UUID | None) -> list[Model]:
    """Newest first, one more than the page."""
    query = select(Model).where(Model.project_id == project_id).order_by(Model.id.desc()).limit(page.limit + 1)
    if dataset_id is not None:
        query = query.where(Model.dataset_id == dataset_id)
    if (after := page.after_id()) is not None:
        query = query.where(Model.id < after)
    return list(session.scalars(query))
