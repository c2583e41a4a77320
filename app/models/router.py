"""/v1/models."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, BackgroundTasks, Header, Request, Response
from fastapi.responses import FileResponse

from app.database import Database
from app.dependencies import BlobsDep, SessionDep
from app.errors import Unavailable
from app.http import Responses, digest_etag, format_digest, is_match, make_etag
from app.models import repository, service
from app.models.schemas import ModelRead, ModelSummary
from app.pagination import Page, PageDep, make_page
from app.security import ReadCaller, WriteCaller

router = APIRouter(prefix="/v1/models", tags=["models"])

_ZIP = {"application/zip": {"schema": {"type": "string", "format": "binary"}}}
_NOT_MODIFIED: Responses = {304: {"description": "Not changed since If-None-Match"}}
_BUNDLE: Responses = {
    200: {"content": _ZIP, "description": "The bundle"},
    206: {"content": _ZIP, "description": "The range that was asked for"},
    **_NOT_MODIFIED,
    400: {"content": {"text/plain": {"schema": {"type": "string"}}}, "description": "Not a Range header"},
    416: {"content": {"text/plain": {"schema": {"type": "string"}}}, "description": "The range lies outside"},
}
IfNoneMatch = Annotated[str | None, Header(description="ETags that the client has.")]


@router.get("")
def list_models(
    page: PageDep, session: SessionDep, caller: ReadCaller, dataset_id: UUID | None = None
) -> Page[ModelSummary]:
    """The project's models, newest first."""
    rows = repository.list_models(session, caller.project_id, page, dataset_id)
    return make_page(rows, page, lambda row: row.id, ModelSummary.model_validate)


@router.get("/{model_id:id}", responses=_NOT_MODIFIED, response_model=ModelRead)
def get_model(model_id: UUID, session: SessionDep, caller: ReadCaller, if_none_match: IfNoneMatch = None) -> Response:
    """A model: its score, its members, and the JSON Schema of its rows."""
    model = service.get_model(session, caller.project_id, model_id)
    body = ModelRead.model_validate(model, from_attributes=True).model_dump_json().encode()
    headers = {"ETag": digest_etag(body), "Cache-Control": "private, no-cache"}
    if is_match(if_none_match, headers["ETag"]):
        return Response(status_code=304, headers=headers)
    return Response(body, media_type="application/json", headers=headers)


@router.get("/{model_id:id}/bundle", responses=_BUNDLE, response_class=FileResponse)
def get_bundle(
    model_id: UUID,
    request: Request,
    blobs: BlobsDep,
    caller: ReadCaller,
    if_none_match: IfNoneMatch = None,
    range_: Annotated[str | None, Header(alias="Range", description="`bytes=first-last`.")] = None,
    if_range: Annotated[str | None, Header(description="The ETag that the range continues.")] = None,
) -> Response:
    """The model as a file. Repr-Digest is the SHA-256 of the whole bundle, also when a range is sent."""
    database: Database = request.app.state.database
    with database.transaction() as session:  # ended before the file is streamed
        model = service.get_model(session, caller.project_id, model_id)
        key, sha256, version = model.blob_key, model.sha256, model.version
    digest, etag = format_digest(sha256), make_etag(sha256)
    headers = {"ETag": etag, "Repr-Digest": digest, "Cache-Control": "private, no-cache"}
    if is_match(if_none_match, etag):
        return Response(status_code=304, headers=headers)
    path = blobs.path(key)
    if not path.exists():
        raise Unavailable("The bundle was replaced just now or its storage is away; try again.")
    if range_ is None:
        headers["Content-Digest"] = digest
    return FileResponse(
        path, media_type="application/zip", headers=headers, filename=f"model-{model_id}-v{version}.zip"
    )


@router.delete("/{model_id:id}", status_code=204)
def delete_model(
    model_id: UUID, session: SessionDep, blobs: BlobsDep, caller: WriteCaller, background: BackgroundTasks
) -> None:
    """Delete a model and its bundle; the job stays. Not while the job runs."""
    key = service.delete_model(session, caller.project_id, model_id)
    background.add_task(blobs.delete, key)  # after the commit
