"""Every noun's router, in the order of the API's documentation."""

from __future__ import annotations

from fastapi import FastAPI

from app.datasets.router import router as datasets
from app.jobs.router import router as jobs
from app.knowledge.router import import_router as knowledge_import
from app.knowledge.router import jobs_router as job_knowledge
from app.knowledge.router import router as knowledge
from app.models.router import router as models
from app.predictions.router import router as predictions
from app.projects.router import keys_router as keys
from app.projects.router import router as projects
from app.settings import Settings
from app.system.router import router as system

_FORM_BYTES = 1 << 20  #: what a form's boundaries add to a file


def include_routers(app: FastAPI, settings: Settings) -> None:
    """Add every route. Uploads may be larger than other bodies."""
    app.include_router(datasets, max_body_size=settings.upload_max_bytes + _FORM_BYTES)
    app.include_router(predictions, max_body_size=settings.predict_body_max_bytes)
    app.include_router(knowledge_import, max_body_size=settings.knowledge_import_max_bytes)
    for router in (jobs, models, job_knowledge, knowledge, projects, keys, system):
        app.include_router(router, max_body_size=settings.body_max_bytes)
