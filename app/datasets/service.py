"""What can be done with datasets."""

from __future__ import annotations

import shutil
import time
from collections.abc import Collection, Mapping
from pathlib import Path, PurePosixPath
from tempfile import mkdtemp
from typing import TYPE_CHECKING, Any
from uuid import UUID

from sqlalchemy import func
from sqlalchemy.orm import Session

from app.blobs import Blobs
from app.database import Database
from app.datasets import repository
from app.datasets.schemas import DatasetPreview
from app.datasets.tables import Dataset
from app.datasets.upload import Upload
from app.errors import AppError, Conflict, InvalidRequest, NotFound, StorageFull, TooLarge, UnreadableTable
from app.ids import new_id
from app.projects.repository import find_project
from app.projects.service import check_bytes
from app.settings import Settings
from workers.engine.errors import TableError, TaskError
from workers.engine.table.read import ReadLimits, ReadTable, read_upload

if TYPE_CHECKING:
    from workers.engine.types import ColumnKind

_STALE_S = 86_400.0  # a scratch folder untouched for a day belongs to a process that was killed
_ORPHAN_S = 3_600.0  # a blob without a row after an hour will never get one
_TEXT_SHOWN = 500
_TOO_LARGE = frozenset({"too_large", "compression_ratio", "too_many_rows", "too_many_columns"})


def get_dataset(session: Session, project_id: UUID, dataset_id: UUID, *, lock: bool = False) -> Dataset:
    """A dataset of this project.

    Raises:
        NotFound: none with this id, deleted, or another project's.
    """
    dataset = repository.find_dataset(session, project_id, dataset_id, lock=lock)
    if dataset is None:
        raise NotFound("No dataset with this id.")
    return dataset


# --- upload


def read_limits(settings: Settings) -> ReadLimits:
    """What reading one upload may cost."""
    return ReadLimits(
        seconds=settings.read_seconds,
        memory_mb=settings.read_memory_mb,
        max_bytes=settings.table_max_bytes,
        max_ratio=settings.table_max_ratio,
        max_columns=settings.table_max_columns,
        max_rows=settings.table_max_rows,
    )


def read_table(upload: Upload, parquet: Path, settings: Settings, *, header: bool | None) -> ReadTable:
    """Read an upload in a bounded process and write it as Parquet.

    Raises:
        UnreadableTable, TooLarge, StorageFull: with the reader's own code.
    """
    try:
        return read_upload(upload.path, parquet, read_limits(settings), filename=upload.filename, header=header)
    except TableError as error:
        raise _explain(error) from error


def _explain(error: TableError) -> AppError:
    if error.code == "storage_full":
        return StorageFull(str(error))
    kind = TooLarge if error.code in _TOO_LARGE else UnreadableTable
    return kind(str(error), code=error.code)


def store_table(
    blobs: Blobs, parquet: Path, upload: Upload, table: ReadTable, *, project_id: UUID, name: str
) -> Dataset:
    """Put a table among the blobs. The dataset is not yet in any session: whoever fails to add it deletes the blob."""
    dataset_id = new_id()
    blob = blobs.put_file(f"datasets/{dataset_id}/table.parquet", parquet)
    return Dataset(
        id=dataset_id,
        project_id=project_id,
        name=name,
        format=table.format,
        sha256=upload.sha256,
        upload_bytes=upload.bytes,
        blob_key=blob.key,
        stored_bytes=blob.bytes,
        rows=table.rows,
        columns=table.columns,
        profile=table.profile,
        alerts=table.alerts,
        version=1,
    )


def add_dataset(session: Session, dataset: Dataset, settings: Settings) -> None:
    """Make a stored table a dataset, if the project may store so much.

    Raises:
        QuotaExceeded: it may not.
    """
    find_project(session, dataset.project_id, lock=True)  # uploads of one project count one after the other
    check_bytes(session, dataset.project_id, dataset.stored_bytes, settings)
    session.add(dataset)
    session.flush()
    session.refresh(dataset)


def default_name(filename: str | None) -> str:
    """A name for whoever gave none."""
    return PurePosixPath(filename).name[:200] if filename else "dataset"


# --- change


def update_dataset(
    session: Session, blobs: Blobs, dataset: Dataset, *, name: str | None, kinds: Mapping[str, ColumnKind | None]
) -> None:
    """Another name, other kinds. Nothing is rewritten: kinds are applied when the table is loaded.

    Raises:
        InvalidRequest: no such column, or one that can't be read as that kind.
    """
    known = {info["name"] for info in dataset.columns}
    if unknown := [column for column in kinds if column not in known]:
        raise _invalid_kind(unknown[0], f"There is no column {unknown[0]!r}.")
    columns = [_with_kind(info, kinds) for info in dataset.columns]
    _check_casts(blobs.path(dataset.blob_key), dataset.columns, columns)
    if (name is not None and name != dataset.name) or columns != dataset.columns:
        dataset.name = name or dataset.name
        dataset.columns = columns
        dataset.version += 1
        session.flush()


def _with_kind(info: dict[str, Any], kinds: Mapping[str, ColumnKind | None]) -> dict[str, Any]:
    if info["name"] not in kinds:
        return info
    return {**info, "kind": str(kinds[info["name"]] or info["detected_kind"])}


def _check_casts(parquet: Path, before: list[dict[str, Any]], after: list[dict[str, Any]]) -> None:
    from workers.engine.table.load import check_kind

    for old, new in zip(before, after, strict=True):
        if old["kind"] == new["kind"]:
            continue
        try:
            check_kind(parquet, new)
        except TaskError as error:
            raise _invalid_kind(new["name"], str(error)) from error


def _invalid_kind(column: str, detail: str) -> InvalidRequest:
    escaped = column.replace("~", "~0").replace("/", "~1")
    return InvalidRequest(detail, errors=[{"pointer": f"/kinds/{escaped}", "detail": detail}])


def delete_dataset(session: Session, project_id: UUID, dataset_id: UUID) -> None:
    """Mark a dataset deleted; its jobs and models stay. The caller deletes its blob after the commit.

    Raises:
        NotFound: no such dataset.
        Conflict: an unfinished job needs it.
    """
    dataset = get_dataset(session, project_id, dataset_id, lock=True)
    if count := repository.count_unfinished_jobs(session, dataset_id):
        raise Conflict(f"{count} unfinished jobs use this dataset. Cancel them, or wait.", code="dataset_in_use")
    dataset.deleted_at = func.now()
    dataset.version += 1
    session.flush()


# --- what a target reveals


def leaking_alerts(
    blobs: Blobs, dataset: Dataset, target: str, kind: str, ignore: Collection[str | None] = ()
) -> list[dict[str, Any]]:
    """Alerts for columns that alone predict the target, on a sample of rows: some tenths of a second at most."""
    from workers.engine.table.leaks import target_alerts

    parquet = blobs.path(dataset.blob_key)
    if not parquet.exists():  # deleted in between
        return []
    return target_alerts(parquet, dataset.columns, target, kind=kind, ignore=ignore)


# --- preview


def preview(parquet: Path, limit: int) -> DatasetPreview:
    """The first rows, as JSON can carry them."""
    import pyarrow.parquet as pq

    with pq.ParquetFile(parquet) as file:
        names = list(file.schema_arrow.names)
        batch = next(file.iter_batches(batch_size=limit, use_threads=False), None)
    columns = [] if batch is None else [column.to_pylist() for column in batch.columns]
    rows = [[_shown(value) for value in row] for row in zip(*columns, strict=True)]
    return DatasetPreview(columns=names, rows=rows)


def _shown(value: Any) -> bool | int | float | str | None:
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if abs(value) != float("inf") else str(value)
    return (value if isinstance(value, str) else value.isoformat())[:_TEXT_SHOWN]


# --- what crashes leave behind


def make_scratch_folder(scratch: Path) -> Path:
    """A fresh folder for one upload, after those of killed processes have been removed."""
    scratch.mkdir(parents=True, exist_ok=True, mode=0o700)
    sweep_scratch(scratch)
    return Path(mkdtemp(prefix="upload-", dir=scratch))


def sweep_scratch(scratch: Path) -> None:
    """Remove the folders of uploads whose process was killed."""
    for folder in scratch.glob("upload-*"):
        if _idle_s(folder) > _STALE_S:
            shutil.rmtree(folder, ignore_errors=True)


def _idle_s(folder: Path) -> float:
    """Seconds since anything in it was written; 0 while it is being removed by its owner."""
    try:
        return time.time() - max(path.stat().st_mtime for path in [folder, *folder.rglob("*")])
    except FileNotFoundError:
        return 0.0


def collect_orphans(database: Database, blobs: Blobs) -> int:
    """Delete the blobs of datasets that never got a row, or whose row is deleted; how many."""
    old = [name for name in blobs.children("datasets") if blobs.age_s(f"datasets/{name}") > _ORPHAN_S]
    removed = 0
    for start in range(0, len(old), 500):
        ids = [UUID(name) for name in old[start : start + 500]]
        with database.transaction() as session:
            live = repository.live_ids(session, ids)
        for dataset_id in set(ids) - live:
            blobs.delete_tree(f"datasets/{dataset_id}")
            removed += 1
    return removed
