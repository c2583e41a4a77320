"""/v1/jobs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated, Any
from uuid import UUID

import structlog
from fastapi import APIRouter, BackgroundTasks, Header, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from sse_starlette import EventSourceResponse, ServerSentEvent

from app.blobs import Blobs
from app.database import Database
from app.dependencies import BlobsDep, SessionDep, SettingsDep
from app.errors import InvalidRequest, NotFound
from app.http import Responses, digest_etag, is_match, make_etag, read_wait
from app.jobs import repository, service
from app.jobs.schemas import (
    Alert,
    JobExtend,
    JobRead,
    JobSpec,
    JobSummary,
    JobValidation,
    Leaderboard,
    TrialRead,
    read_summary,
)
from app.jobs.service import Question
from app.jobs.tables import JobState
from app.jobs.watch import JobWatch
from app.knowledge.forecast import Forecast, foretell
from app.pagination import Page, PageDep, make_page
from app.predictions.forward import PredictorClient
from app.security import Caller, ReadCaller, WriteCaller
from app.settings import Settings

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])

_log = structlog.get_logger(__name__)

_RETRY_MS = 2000
_NOT_MODIFIED: Responses = {304: {"description": "Not changed since If-None-Match"}}
_EVENT = {
    "type": "object",
    "description": "state, trial, model, progress or budget; `end` is the last one of an ended job.",
    "properties": {name: {"type": "string"} for name in ("id", "event", "data")} | {"retry": {"type": "integer"}},
}
_EVENTS: Responses = {
    200: {"content": {"text/event-stream": {"schema": _EVENT}}, "description": "Events, as they come"},
    204: {"description": "The job has ended and every event was received: do not reconnect"},
}
_LOCATION: Responses = {
    202: {
        "headers": {
            "Location": {"description": "Where the job is", "schema": {"type": "string"}},
            "Retry-After": {"description": "Seconds until there may be news", "schema": {"type": "integer"}},
        }
    }
}
IfNoneMatch = Annotated[str | None, Header(description="ETags that the client has.")]


@router.post("", status_code=202, responses=_LOCATION)
def submit_job(
    body: JobSpec, response: Response, session: SessionDep, settings: SettingsDep, caller: WriteCaller
) -> JobRead:
    """Queue a job. Poll or stream it where Location says."""
    job = service.submit_job(session, caller.project_id, body, settings)
    return _accepted(response, job)


@router.post(":validate")
async def validate_job(
    body: JobSpec, request: Request, settings: SettingsDep, blobs: BlobsDep, caller: ReadCaller
) -> JobValidation:
    """Check a spec without running it: the same errors, the filled-in spec, alerts, expected cost and score."""
    database: Database = request.app.state.database
    predictor: PredictorClient = request.app.state.predictor
    found, question = await run_in_threadpool(_validate, database, caller, body, settings, blobs)
    if question is None:
        return found
    try:
        seen = await predictor.describe(question.body)
        found.knowledge = await run_in_threadpool(_foretell, database, caller, found.spec, question, seen)
    except InvalidRequest as error:  # the job would fail for the same reason
        found.alerts.append(Alert(code=error.code, detail=error.detail, severity="warning"))
    except Exception:  # whatever went wrong, the rest of the answer is as good without it
        _log.exception("nothing was foretold")
    return found


def _validate(
    database: Database, caller: Caller, body: JobSpec, settings: Settings, blobs: Blobs
) -> tuple[JobValidation, Question | None]:
    with database.transaction() as session:
        return service.validate_job(session, caller.project_id, body, settings, blobs)


def _foretell(
    database: Database, caller: Caller, spec: dict[str, Any], question: Question, seen: dict[str, Any]
) -> Forecast:
    with database.transaction() as session:
        return foretell(session, caller.project_id, spec, question.metamodel_id, question.learners, seen)


@router.get("", responses=_NOT_MODIFIED, response_model=Page[JobSummary])
def list_jobs(
    page: PageDep,
    session: SessionDep,
    caller: ReadCaller,
    state: Annotated[list[JobState], Query(description="Only these states; repeat for several.")] = [],  # noqa: B006
    dataset_id: UUID | None = None,
    if_none_match: IfNoneMatch = None,
) -> Response:
    """The project's jobs, newest first."""
    rows = repository.list_jobs(session, caller.project_id, page, state, dataset_id)
    body = make_page(rows, page, lambda row: row[0].id, lambda row: read_summary(*row)).model_dump_json().encode()
    return _conditional(body, digest_etag(body), if_none_match)


@router.get("/{job_id:id}", responses=_NOT_MODIFIED, response_model=JobRead)
async def get_job(
    job_id: UUID,
    request: Request,
    settings: SettingsDep,
    caller: ReadCaller,
    if_none_match: IfNoneMatch = None,
    prefer: Annotated[str | None, Header(description="`wait=n`: answer when the job changes, or after n s.")] = None,
) -> Response:
    """A job.

    With `Prefer: wait=n` the answer comes when the job differs from If-None-Match (without one: when its state
    changes), at once if it has ended, and after n seconds at the latest.
    """
    watch: JobWatch = request.app.state.watch
    seconds = read_wait(prefer, settings.wait_max_s)
    watched = watch.peek(job_id, caller.project_id) if seconds else None
    if watched is not None and watched.job and is_match(if_none_match, make_etag(watched.job.version)):
        job, body = watched.job, watched.body
    else:
        job = await run_in_threadpool(_read_job, request.app.state.database, caller, job_id)
        body = job.model_dump_json().encode()
    is_known = is_match(if_none_match, make_etag(job.version))
    if seconds and not job.state.is_terminal and (is_known or if_none_match is None):
        known = job

        def is_enough(now: JobRead) -> bool:
            return now.state != known.state or (is_known and now.version > known.version)

        watched = await watch.wait_for(job_id, is_enough, seconds)
        if watched.is_read and watched.job is None:
            raise NotFound("No job with this id.")
        if watched.job is not None and watched.job.version > job.version:
            job, body = watched.job, watched.body
    response = _conditional(body, make_etag(job.version), if_none_match)
    if seconds:
        response.headers["Preference-Applied"] = f"wait={seconds:g}"
    return response


@router.get("/{job_id:id}/trials")
def list_trials(job_id: UUID, page: PageDep, session: SessionDep, caller: ReadCaller) -> Page[TrialRead]:
    """The job's trials in the order in which they were begun."""
    service.get_job(session, caller.project_id, job_id)
    rows = repository.list_trials(session, job_id, page)
    return make_page(rows, page, lambda row: row.number, TrialRead.from_row)


@router.get("/{job_id:id}/leaderboard")
def get_leaderboard(job_id: UUID, session: SessionDep, caller: ReadCaller) -> Leaderboard:
    """Fully evaluated trials, best first, with their share in the model; at most 1,000."""
    return service.get_leaderboard(session, caller.project_id, job_id)


@router.get("/{job_id:id}/events", responses=_EVENTS, response_class=EventSourceResponse)
async def stream_events(
    job_id: UUID,
    request: Request,
    caller: ReadCaller,
    last_event_id: Annotated[int, Header(ge=0, le=2**62, description="The last event received; 0: none.")] = 0,
) -> Response:
    """Server-sent events: everything since Last-Event-ID, then what happens, then `end`."""
    job = await run_in_threadpool(_read_job, request.app.state.database, caller, job_id)
    watch: JobWatch = request.app.state.watch
    if job.state.is_terminal and last_event_id and not await watch.has_events(job_id, last_event_id):
        return Response(status_code=204)
    return EventSourceResponse(_events(watch, job_id, last_event_id), ping=3600)


@router.delete("/{job_id:id}", status_code=204)
def delete_job(
    job_id: UUID, session: SessionDep, blobs: BlobsDep, caller: WriteCaller, background: BackgroundTasks
) -> None:
    """Delete an ended job with its trials, events and model. Cancel it first if it has not ended."""
    service.delete_job(session, caller.project_id, job_id)
    background.add_task(blobs.delete_tree, f"jobs/{job_id}")  # after the commit


@router.post("/{job_id:id}:cancel", status_code=202)
def cancel_job(job_id: UUID, response: Response, session: SessionDep, caller: WriteCaller) -> JobRead:
    """Cancel a job for good; its last published model stays. Repeating it changes nothing."""
    return _accepted(response, service.cancel_job(session, caller.project_id, job_id))


@router.post("/{job_id:id}:extend", status_code=202, responses=_LOCATION)
def extend_job(
    job_id: UUID, body: JobExtend, response: Response, session: SessionDep, settings: SettingsDep, caller: WriteCaller
) -> JobRead:
    """Raise the budget. An ended job is left as it is: a new one, with `parent_job_id`, goes on from its trials."""
    return _accepted(response, service.extend_job(session, caller.project_id, job_id, body, settings))


def _read_job(database: Database, caller: Caller, job_id: UUID) -> JobRead:
    with database.transaction() as session:
        return service.get_job(session, caller.project_id, job_id)


async def _events(watch: JobWatch, job_id: UUID, after: int) -> AsyncIterator[ServerSentEvent]:
    yield ServerSentEvent(retry=_RETRY_MS, comment="warmstart")
    async for events in watch.stream(job_id, after):
        if events is None:
            yield ServerSentEvent(event="end", data="{}")
        elif not events:
            yield ServerSentEvent(comment="still here")
        else:
            for event in events:
                yield ServerSentEvent(id=str(event.seq), event=event.type, data=watch.encode(event))


def _accepted(response: Response, job: JobRead) -> JobRead:
    response.headers["Location"] = f"/v1/jobs/{job.id}"
    response.headers["Retry-After"] = "1"
    return job


def _conditional(body: bytes, etag: str, if_none_match: str | None) -> Response:
    headers = {"ETag": etag, "Cache-Control": "private, no-cache"}
    if is_match(if_none_match, etag):
        return Response(status_code=304, headers=headers)
    return Response(body, media_type="application/json", headers=headers)
