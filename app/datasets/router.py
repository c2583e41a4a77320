"""/v1/datasets"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Annotated, Any, TypeVar
from uuid import UUID

from anyio import CancelScope, CapacityLimiter
from anyio.to_thread import run_sync
from fastapi import APIRouter, Header, Query, Request, Response

from app.blobs import Blobs
from app.database import Database
from app.datasets import repository, service
from app.datasets.schemas import DatasetPreview, DatasetProfile, DatasetRead, DatasetSummary, DatasetUpdate
from app.datasets.tables import Dataset
from app.datasets.upload import Upload, receive
from app.dependencies import BlobsDep, SessionDep, SettingsDep
from app.errors import PreconditionFailed
from app.http import Responses, is_match, make_etag
from app.idempotency import Attempt, begin, find_answer, read_key, remember
from app.pagination import Page, PageDep, make_page
from app.projects.service import check_bytes
from app.security import ReadCaller, WriteCaller
from app.settings import Settings
from app.text import Name

router = APIRouter(prefix="/v1/datasets", tags=["datasets"])
Result = TypeVar("Result")

_NOT_MODIFIED: Responses = {304: {"description": "Not changed since If-None-Match"}}
_ROUTE = "POST /v1/datasets"
_FILE = {"schema": {"type": "string", "format": "binary"}}
_BODY = {
    "required": True,
    "content": {
        "text/csv": _FILE | {"example": "age,job,income\n39,clerk,low\n52,nurse,high\n"},
        "application/vnd.apache.parquet": _FILE,
        "application/octet-stream": _FILE,
        "multipart/form-data": {
            "schema": {"type": "object", "required": ["file"], "properties": {"file": _FILE["schema"]}}
        },
    },
}


@router.post("", status_code=201, response_model=DatasetRead, openapi_extra={"requestBody": _BODY})
async def create_dataset(
    request: Request,
    settings: SettingsDep,
    caller: WriteCaller,
    name: Annotated[Name | None, Query(description="What to call it; else the file's name.")] = None,
    header: Annotated[bool | None, Query(description="Whether a CSV's first row holds names; else found out.")] = None,
    idempotency_key: Annotated[str | None, Header(description="Repeating the same upload makes no second one.")] = None,
) -> Response:
    """Upload a table: CSV, TSV, Parquet, Arrow/Feather, JSON lines or ARFF, plain or compressed with gzip or zstd.

    The body is the file itself, or a multipart form with one file part.
    """
    key = read_key(idempotency_key)
    creation = _Creation(request, caller.project_id, settings, name, header)
    await run_sync(creation.check_room)
    async with _scratch_folder(settings.scratch) as folder:
        upload = await receive(request, folder / "upload", settings)
        attempt = creation.attempt(upload, key)
        if attempt is not None and (answer := await run_sync(creation.find_answer, attempt)) is not None:
            return answer
        make = partial(creation.make, upload, folder / "table.parquet", attempt)
        return await run_sync(make, limiter=_reader_limit(request, settings))


@asynccontextmanager
async def _scratch_folder(scratch: Path) -> AsyncIterator[Path]:
    """A folder for one upload's files, gone afterwards whatever happens."""
    folder = await run_sync(service.make_scratch_folder, scratch)
    try:
        yield folder
    finally:
        with CancelScope(shield=True):
            await run_sync(partial(shutil.rmtree, folder, ignore_errors=True))


def _reader_limit(request: Request, settings: Settings) -> CapacityLimiter:
    """How many uploads one process parses side by side; the others wait, each with its file on disk."""
    state = request.app.state
    if not hasattr(state, "upload_readers"):
        state.upload_readers = CapacityLimiter(settings.upload_readers)
    return state.upload_readers  # type: ignore[no-any-return]


class _Creation:
    """One upload on its way to a dataset. Every method blocks: run it in a thread."""

    def __init__(
        self, request: Request, project_id: UUID, settings: Settings, name: str | None, header: bool | None
    ) -> None:
        self._database: Database = request.app.state.database
        self._blobs: Blobs = request.app.state.blobs
        self._project_id, self._settings, self._name, self._header = project_id, settings, name, header

    def check_room(self) -> None:
        """Refuse at once what could not be stored anyway."""
        with self._database.transaction() as session:
            check_bytes(session, self._project_id, 1, self._settings)

    def attempt(self, upload: Upload, key: str | None) -> Attempt | None:
        """What an Idempotency-Key stands for: this file with these options."""
        if key is None:
            return None
        said = f"{upload.sha256}\n{upload.filename}\n{self._name}\n{self._header}"
        fingerprint = hashlib.sha256(said.encode()).hexdigest()
        return Attempt(project_id=self._project_id, route=_ROUTE, key=key, fingerprint=fingerprint)

    def find_answer(self, attempt: Attempt) -> Response | None:
        """The answer to the same upload before, without waiting for one that is still running."""
        with self._database.transaction() as session:
            return find_answer(session, attempt)

    def make(self, upload: Upload, parquet: Path, attempt: Attempt | None) -> Response:
        """Parse, store, commit. No transaction is open while parsing, and on any error no blob stays."""
        table = service.read_table(upload, parquet, self._settings, header=self._header)
        name = self._name or service.default_name(upload.filename)
        dataset = service.store_table(self._blobs, parquet, upload, table, project_id=self._project_id, name=name)
        blob_key = dataset.blob_key
        kept = False
        try:
            response, kept = self._commit(dataset, attempt)
            return response
        finally:
            if not kept:
                self._blobs.delete_tree(blob_key.rpartition("/")[0])

    def _commit(self, dataset: Dataset, attempt: Attempt | None) -> tuple[Response, bool]:
        """The answer, and whether the dataset is a new one."""
        with self._database.transaction() as session:
            if attempt is not None and (answer := begin(session, attempt)) is not None:
                return answer, False
            service.add_dataset(session, dataset, self._settings)
            response = _created(dataset)
            if attempt is not None:
                remember(session, attempt, response.status_code, dict(response.headers), bytes(response.body))
        return response, True


def _created(dataset: Dataset) -> Response:
    return Response(
        DatasetRead.model_validate(dataset).model_dump_json(),
        status_code=201,
        media_type="application/json",
        headers={"Location": f"/v1/datasets/{dataset.id}", "ETag": _etag(dataset)},
    )


@router.get("")
def list_datasets(page: PageDep, session: SessionDep, caller: ReadCaller) -> Page[DatasetSummary]:
    """The project's datasets, newest first."""
    rows = repository.list_datasets(session, caller.project_id, page)
    return make_page(rows, page, lambda row: row.id, DatasetSummary.model_validate)


@router.get("/{dataset_id}", response_model=DatasetRead, responses=_NOT_MODIFIED)
def get_dataset(
    dataset_id: UUID,
    session: SessionDep,
    caller: ReadCaller,
    response: Response,
    if_none_match: Annotated[str | None, Header()] = None,
) -> Any:
    """A dataset: its columns and alerts."""
    return _tagged(service.get_dataset(session, caller.project_id, dataset_id), response, if_none_match, _read)


@router.get("/{dataset_id}/profile", response_model=DatasetProfile, responses=_NOT_MODIFIED)
def get_profile(
    dataset_id: UUID,
    session: SessionDep,
    caller: ReadCaller,
    response: Response,
    if_none_match: Annotated[str | None, Header()] = None,
) -> Any:
    """Statistics of every column, and alerts."""
    dataset = service.get_dataset(session, caller.project_id, dataset_id)
    return _tagged(dataset, response, if_none_match, _profile)


@router.get("/{dataset_id}/preview")
def get_preview(
    dataset_id: UUID,
    session: SessionDep,
    blobs: BlobsDep,
    caller: ReadCaller,
    limit: Annotated[int, Query(ge=1, le=100, description="Rows.")] = 20,
) -> DatasetPreview:
    """The first rows."""
    dataset = service.get_dataset(session, caller.project_id, dataset_id)
    return service.preview(blobs.path(dataset.blob_key), limit)


@router.patch("/{dataset_id}", max_body_size=1_000_000)
def update_dataset(
    dataset_id: UUID,
    body: DatasetUpdate,
    session: SessionDep,
    blobs: BlobsDep,
    caller: WriteCaller,
    response: Response,
    if_match: Annotated[str | None, Header(description="The ETag that the change is based on.")] = None,
) -> DatasetRead:
    """Change the name or the kinds of columns. Jobs that exist already keep the kinds that they began with."""
    dataset = service.get_dataset(session, caller.project_id, dataset_id, lock=True)
    if if_match is not None and not is_match(if_match, _etag(dataset)):
        raise PreconditionFailed(f"The dataset has changed: its ETag is {_etag(dataset)} now.")
    service.update_dataset(session, blobs, dataset, name=body.name, kinds=body.kinds)
    response.headers["ETag"] = _etag(dataset)
    return _read(dataset)


@router.delete("/{dataset_id}", status_code=204)
def delete_dataset(dataset_id: UUID, request: Request, blobs: BlobsDep, caller: WriteCaller) -> None:
    """Delete a dataset that no unfinished job uses. Models made from it stay."""
    with request.app.state.database.transaction() as session:
        service.delete_dataset(session, caller.project_id, dataset_id)
    blobs.delete_tree(f"datasets/{dataset_id}")


def _read(dataset: Dataset) -> DatasetRead:
    return DatasetRead.model_validate(dataset)


def _profile(dataset: Dataset) -> DatasetProfile:
    return DatasetProfile.model_validate({**dataset.profile, "id": dataset.id, "alerts": dataset.alerts})


def _etag(dataset: Dataset) -> str:
    return make_etag(dataset.version)


def _tagged(
    dataset: Dataset, response: Response, if_none_match: str | None, read: Callable[[Dataset], Result]
) -> Result | Response:
    """The dataset read, with its ETag; 304 if the client has it already."""
    if is_match(if_none_match, _etag(dataset)):
        return Response(status_code=304, headers={"ETag": _etag(dataset)})
    response.headers["ETag"] = _etag(dataset)
    return read(dataset)
