"""/v1/knowledge."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response
from fastapi.concurrency import run_in_threadpool

from app.dependencies import BlobsDep, SessionDep, SettingsDep
from app.http import Responses
from app.knowledge import exchange, repository, service, training
from app.knowledge.forecast import Similar
from app.knowledge.schemas import (
    JobKnowledgeRead,
    KnowledgeCount,
    KnowledgeRead,
    KnowledgeTaskRead,
    MetamodelRead,
    TrainingRead,
)
from app.pagination import Page, PageDep, make_page
from app.security import OperatorCaller, ReadCaller, WriteCaller

router = APIRouter(prefix="/v1/knowledge", tags=["knowledge"])
import_router = APIRouter(prefix="/v1/knowledge", tags=["knowledge"])
_ZIP: Responses = {200: {"content": {"application/zip": {"schema": {"type": "string", "format": "binary"}}}}}
_ZIP_BODY = {
    "requestBody": {
        "required": True,
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}
jobs_router = APIRouter(prefix="/v1/jobs", tags=["knowledge"])


@router.get("")
def get_knowledge(session: SessionDep, caller: ReadCaller) -> KnowledgeRead:
    """How many tasks and evaluations the project has gathered, and how many all share."""
    counts = repository.count(session, caller.project_id)
    return KnowledgeRead(**{name: KnowledgeCount(tasks=tasks, evaluations=n) for name, (tasks, n) in counts.items()})


@router.get("/tasks")
def list_knowledge_tasks(page: PageDep, session: SessionDep, caller: ReadCaller) -> Page[KnowledgeTaskRead]:
    """The project's past tasks, newest first."""
    rows = repository.list_tasks(session, caller.project_id, page)
    return make_page(
        rows,
        page,
        lambda row: row[0].id,
        lambda row: KnowledgeTaskRead(
            id=row[0].id,
            kind=row[0].kind,
            group=row[0].group,
            metafeatures=row[0].metafeatures,
            evaluations=row[1],
            created_at=row[0].created_at,
        ),
    )


@router.post(":export", response_class=Response, responses=_ZIP)
def export_knowledge(session: SessionDep, blobs: BlobsDep, caller: ReadCaller) -> Response:
    """What the project's jobs left, as a zip for `:import`: Parquet and safetensors, no rows, no column names."""
    return Response(
        exchange.export_knowledge(session, blobs, caller.project_id),
        media_type="application/zip",
        headers={"Content-Disposition": 'attachment; filename="knowledge.zip"'},
    )


@import_router.post(":import", status_code=200, openapi_extra=_ZIP_BODY)
async def import_knowledge(
    request: Request, session: SessionDep, blobs: BlobsDep, settings: SettingsDep, caller: WriteCaller
) -> KnowledgeCount:
    """Add an export to the project's own knowledge. Again changes nothing."""
    body = await request.body()
    counts = await run_in_threadpool(exchange.import_knowledge, session, blobs, settings, caller.project_id, body)
    return KnowledgeCount(**counts)


@router.get("/similar")
def list_similar(
    task_id: UUID,
    session: SessionDep,
    caller: ReadCaller,
    limit: Annotated[int, Query(ge=1, le=100, description="Tasks at most.")] = 10,
) -> list[Similar]:
    """Past tasks on which the same is likely to work, nearest first."""
    return service.list_similar(session, caller.project_id, task_id, limit)


@router.get("/metamodels")
def list_metamodels(page: PageDep, session: SessionDep, _: ReadCaller) -> Page[MetamodelRead]:
    """Every version of what was learned across tasks, newest first."""
    rows = repository.list_metamodels(session, page)
    return make_page(rows, page, lambda row: row.id, MetamodelRead.from_row)


@router.post("/metamodels/{metamodel_id:id}:promote")
def promote_metamodel(metamodel_id: UUID, session: SessionDep, _: OperatorCaller) -> MetamodelRead:
    """Use this version from now on: roll back, or overrule a verdict. Needs the scope `operator`."""
    return MetamodelRead.from_row(training.promote(session, metamodel_id))


@router.post(":train", status_code=202)
def train_metamodels(
    response: Response, session: SessionDep, settings: SettingsDep, caller: OperatorCaller
) -> TrainingRead:
    """Train metamodels on all that is shared; one that is proven better takes its role. Needs the scope `operator`.

    While a training waits or runs, asking again answers that one.
    """
    job = training.request_training(session, caller.project_id, settings)
    response.headers["Location"] = f"/v1/knowledge/trainings/{job.id}"
    response.headers["Retry-After"] = "5"
    return TrainingRead.from_row(job)


@router.get("/trainings")
def list_trainings(page: PageDep, session: SessionDep, _: ReadCaller) -> Page[TrainingRead]:
    """Trainings, newest first."""
    return make_page(training.list_trainings(session, page), page, lambda row: row.id, TrainingRead.from_row)


@router.get("/trainings/{training_id}")
def get_training(training_id: UUID, session: SessionDep, _: ReadCaller) -> TrainingRead:
    """A training, its progress and its verdicts."""
    return TrainingRead.from_row(training.find_training(session, training_id))


@jobs_router.get("/{job_id:id}/knowledge")
def explain_job(job_id: UUID, session: SessionDep, caller: ReadCaller) -> JobKnowledgeRead:
    """What the job knew when it began: similar past tasks and why, and what each source of proposals brought."""
    return service.explain_job(session, caller.project_id, job_id)
