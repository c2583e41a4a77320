"""Knowledge between installations: a project's own as a zip, and back into a project. Nothing in it is trusted."""

from __future__ import annotations

import io
import json
import re
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, Final
from uuid import UUID

import psycopg
from sqlalchemy.exc import DataError
from sqlalchemy.orm import Session

from app.blobs import Blobs
from app.errors import InvalidRequest, TooLarge
from app.knowledge import repository
from app.knowledge.archive import NAME, Archive, ShippedMetamodel, open_archive, write_archive
from app.knowledge.loading import load_archive
from app.knowledge.repository import TaskDescription
from app.settings import Settings
from workers.engine.catalog import EMBEDDING_ROLE
from workers.engine.types import TaskKind, TrialStatus

#: What a value of a wrong kind or size may cause on its way into the database.
_ODD: Final = (
    ValueError,
    TypeError,
    KeyError,
    AttributeError,
    OverflowError,
    RecursionError,
    psycopg.DataError,
    DataError,
)
_FILES_MAX: Final = 1_000
_SKETCH_MAX: Final = 4_096
_TEXT_MAX: Final = 200
_NUMBERS_MAX: Final = 500
_LARGEST: Final = 1e12
_SECONDS_MAX: Final = 1e7
_EVALUATION_MAX: Final = 20_000
_COSTS: Final = ("seconds", "cpu_seconds", "memory_mb")
_KEYS: Final = frozenset(
    {
        *("configuration", "learner_version", "engine_version", "fidelity", "source", "status", "reason", "metric"),
        *("loss", "fold_losses", "metrics", "cores", "best_iterations", *_COSTS),
    }
)


def export_knowledge(session: Session, blobs: Blobs, project_id: UUID) -> bytes:
    """A zip of what the project's jobs left, with the embedding in use and where it sees the tasks."""
    with tempfile.TemporaryDirectory(prefix="ws-export-") as name:
        folder = Path(name)
        (folder / "metamodels").mkdir()
        shipped: dict[UUID, ShippedMetamodel] = {}
        metamodel = repository.find_champion(session, EMBEDDING_ROLE)
        if metamodel is not None:  # others hold losses of tasks that are not the project's
            file = f"metamodels/{metamodel.name}-{metamodel.version}.safetensors"
            (folder / file).write_bytes(blobs.path(metamodel.blob_key).read_bytes())
            shipped[metamodel.id] = ShippedMetamodel(
                role=metamodel.role,
                name=metamodel.name,
                file=file,
                learned_from={"tasks": metamodel.learned_from.get("tasks", 0)},
                replay=metamodel.replay,
            )
        tasks = repository.list_own_tasks(session, project_id)
        names = {task.id: task.fingerprint for task in tasks}
        points = [
            (names[row.task_id], shipped[row.metamodel_id].file, [float(number) for number in row.embedding])
            for row in repository.list_embeddings(session, list(names))
            if row.metamodel_id in shipped
        ]
        evaluations = ((names[task], each) for task, each in repository.list_evaluations(session, list(names)))
        write_archive(folder, map(_describe, tasks), evaluations, list(shipped.values()), points)
        return _zipped(folder)


def import_knowledge(
    session: Session, blobs: Blobs, settings: Settings, project_id: UUID, body: bytes
) -> dict[str, int]:
    """Tasks and evaluations of an export become the project's own; how many there were of each.

    Again changes nothing. Metamodels in it are left aside, and where they see its tasks: what all use is an operator's.

    Raises:
        InvalidRequest: not an export, damaged, or with something in it that no export has.
        TooLarge: unpacked it is larger than `knowledge_unpacked_max_bytes`.
    """
    with tempfile.TemporaryDirectory(prefix="ws-import-") as name:
        folder = Path(name)
        _unzip(body, folder, settings.knowledge_unpacked_max_bytes)
        archive = open_archive(folder)
        try:
            tasks = {task.fingerprint for task in map(_checked_task, archive.tasks())}
            evaluations = sum(1 for _ in _checked_evaluations(archive, tasks))
            load_archive(session, blobs, archive, project_id=project_id)
        except _ODD as error:
            raise InvalidRequest("The archive holds something that no export holds.") from error
    return {"tasks": len(tasks), "evaluations": evaluations}


def _describe(row: Any) -> TaskDescription:
    return TaskDescription(
        fingerprint=row.fingerprint,
        group=row.group,
        kind=row.kind,
        metafeatures=row.metafeatures,
        constants=row.constants,
        sketch=row.sketch,
    )


def _zipped(folder: Path) -> bytes:
    """Files in order, with no time on them: the same knowledge, the same bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as file:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                file.writestr(zipfile.ZipInfo(path.relative_to(folder).as_posix()), path.read_bytes())
    return buffer.getvalue()


def _unzip(body: bytes, folder: Path, most: int) -> None:
    try:
        with zipfile.ZipFile(io.BytesIO(body)) as file:
            entries = [entry for entry in file.infolist() if not entry.is_dir()]
            if len(entries) > _FILES_MAX or sum(entry.file_size for entry in entries) > most:
                raise TooLarge(f"Unpacked, the archive may have {most} bytes and {_FILES_MAX} files.")
            for entry in entries:
                path = PurePosixPath(entry.filename)
                if path.is_absolute() or ".." in path.parts or len(path.parts) > 2:
                    raise InvalidRequest(f"The archive holds a file in an odd place: {entry.filename[:_TEXT_MAX]!r}.")
                target = folder / path
                target.parent.mkdir(exist_ok=True)
                with file.open(entry) as source:  # a size that lies ends in an error of zipfile
                    target.write_bytes(source.read(entry.file_size))
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError, OSError, ValueError) as error:
        raise InvalidRequest("This is no zip file, or it is damaged.") from error


def _checked_task(task: TaskDescription) -> TaskDescription:
    numbers_are_fine = all(_are_numbers(each) for each in (task.metafeatures, task.constants))
    texts_are_fine = all(isinstance(text, str) and len(text) <= _TEXT_MAX for text in (task.fingerprint, task.group))
    if (
        not (numbers_are_fine and texts_are_fine and task.kind in list(TaskKind))
        or len(task.sketch or b"") > _SKETCH_MAX
    ):
        raise InvalidRequest("tasks.parquet: a task has a kind, a group, and finite numbers by name.")
    return task


def _checked_evaluations(archive: Archive, tasks: set[str]) -> Iterator[Mapping[str, Any]]:
    for fingerprint, evaluation in archive.evaluations():
        if fingerprint not in tasks or not _is_evaluation(evaluation):
            raise InvalidRequest(
                "evaluations: each belongs to a task of the archive and has configuration, learner_version, fidelity, "
                f"status and metrics; not so {json.dumps(evaluation)[:_TEXT_MAX]}."
            )
        yield evaluation


def _is_evaluation(found: Any) -> bool:
    if not isinstance(found, dict):
        return False
    configuration, fidelity = found.get("configuration"), found.get("fidelity")
    return (
        set(found) <= _KEYS
        and isinstance(configuration, dict)
        and len(configuration) <= _NUMBERS_MAX
        and all(_is_value(value) for value in configuration.values())
        and _is_name(configuration.get("learner"))
        and _is_name(found.get("learner_version"))
        and fidelity == {"rows": 1.0, "folds": None}
        and found.get("status") in list(TrialStatus)
        and _are_numbers(found.get("metrics"))
        and all(_is_number(found.get(name, 0.0), _SECONDS_MAX) and found.get(name, 0.0) >= 0 for name in _COSTS)
        and len(json.dumps(found)) <= _EVALUATION_MAX
    )


def _are_numbers(found: Any) -> bool:
    return (
        isinstance(found, Mapping)
        and len(found) <= _NUMBERS_MAX
        and all(isinstance(name, str) and len(name) <= _TEXT_MAX for name in found)
        and all(_is_number(value, _LARGEST) for value in found.values())
    )


def _is_number(value: Any, most: float) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= most


def _is_value(value: Any) -> bool:
    is_text = isinstance(value, str) and len(value) <= _TEXT_MAX
    return value is None or isinstance(value, bool) or is_text or _is_number(value, _LARGEST)


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and re.fullmatch(NAME, value) is not None
