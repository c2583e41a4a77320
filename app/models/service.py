"""Models: found by project, downloaded, deleted."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy.orm import Session

from app.errors import Conflict, NotFound
from app.jobs.repository import find_job
from app.jobs.tables import JobState
from app.models import repository
from app.models.tables import Model


def get_model(session: Session, project_id: UUID, model_id: UUID) -> Model:
    """A model.

    Raises:
        NotFound: none of this project's.
    """
    model = repository.find_model(session, project_id, model_id)
    if model is None:
        raise NotFound("No model with this id.")
    return model


def delete_model(session: Session, project_id: UUID, model_id: UUID) -> str:
    """Delete a model; its job stays. The key of its bundle, to be removed after the commit.

    Raises:
        NotFound: none of this project's.
        Conflict: its job still improves it.
    """
    model = repository.find_model(session, project_id, model_id, lock=True)
    if model is None:
        raise NotFound("No model with this id.")
    found = find_job(session, project_id, model.job_id)
    if found is not None and not JobState(found[0].state).is_terminal:
        raise Conflict("Its job is still running; cancel it first.", code="job_not_ended")
    session.delete(model)
    return model.blob_key
