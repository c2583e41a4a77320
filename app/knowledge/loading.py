"""An archive into the knowledge store: once, whatever was loaded before it, in one transaction."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Final
from uuid import UUID

import structlog
from sqlalchemy import Connection, func, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from app.blobs import Blobs
from app.database import Database
from app.ids import new_id
from app.knowledge.archive import Archive, ShippedMetamodel, open_archive
from app.knowledge.tables import KnowledgeArchive, KnowledgeTask, Metamodel, MetamodelState
from app.settings import Settings
from workers.engine.meta.evaluations import key_of

log = structlog.get_logger(__name__)

SEED: Final = Path(__file__).with_name("seed")  #: what the package ships
_LOCK: Final = 0x57415254  # arbitrary: two loaders take turns

_STAGE = """
CREATE TEMPORARY TABLE staged (
    id uuid, fingerprint text, configuration_key text, evaluation jsonb
) ON COMMIT DROP
"""
_UNSTAGE = """
INSERT INTO knowledge_evaluations (id, task_id, configuration_key, evaluation)
SELECT staged.id, task.id, staged.configuration_key, staged.evaluation
FROM staged JOIN knowledge_tasks task
    ON task.fingerprint = staged.fingerprint AND task.project_id IS NOT DISTINCT FROM :project_id
WHERE NOT EXISTS (
    SELECT FROM knowledge_evaluations known
    WHERE known.task_id = task.id AND known.configuration_key = staged.configuration_key
)
"""


def load_seed(url: str, settings: Settings, folder: Path = SEED) -> bool:
    """What the package ships, if it is not there yet; whether anything was loaded. Metamodels come in any case.

    Never a reason not to start: without it, searches are cold.
    """
    if not folder.is_dir():
        return False
    database = Database(url, pool_size=1)
    try:
        archive = open_archive(folder)
        with database.transaction() as session:
            return load_archive(session, Blobs(settings.blobs), archive, with_tasks=settings.seed_knowledge)
    except Exception:  # whatever is wrong with the files
        log.exception("seed knowledge could not be loaded")
        return False
    finally:
        database.dispose()


def load_archive(
    session: Session, blobs: Blobs, archive: Archive, *, with_tasks: bool = True, project_id: UUID | None = None
) -> bool:
    """Tasks become everybody's, or a project's; False if they were before.

    Evaluations of a configuration that an earlier archive brought are not brought again. A metamodel that comes for all
    becomes champion if it is one there, and here is none, or only one that came in an archive as well; else it waits as
    a challenger.
    """
    session.execute(select(func.pg_advisory_xact_lock(_LOCK)))
    if project_id is None and session.get(KnowledgeArchive, archive.sha256) is not None:
        return False
    shipped = archive.metamodels if project_id is None else ()
    metamodels = {one.file: _load_metamodel(session, blobs, archive.folder, one) for one in shipped}
    if with_tasks:
        if project_id is None:
            session.add(KnowledgeArchive(sha256=archive.sha256))
        _load_tasks(session, archive, project_id)
        _load_evaluations(session.connection(), archive, project_id)
        _load_embeddings(session, archive, metamodels)
    return with_tasks


def _load_tasks(session: Session, archive: Archive, project_id: UUID | None) -> None:
    rows = [
        {
            "id": new_id(),
            "project_id": project_id,
            "is_shared": project_id is None,
            **task.to_row(),
        }
        for task in archive.tasks()
    ]
    if rows:
        session.execute(insert(KnowledgeTask).on_conflict_do_nothing(), rows)


def _load_evaluations(connection: Connection, archive: Archive, project_id: UUID | None) -> None:
    connection.execute(text(_STAGE))
    with connection.connection.cursor() as cursor, cursor.copy("COPY staged FROM STDIN") as copy:  # type: ignore[attr-defined]
        for fingerprint, evaluation in archive.evaluations():
            copy.write_row((new_id(), fingerprint, key_of(evaluation), json.dumps(evaluation)))
    connection.execute(text(_UNSTAGE), {"project_id": project_id})


def _load_metamodel(session: Session, blobs: Blobs, folder: Path, shipped: ShippedMetamodel) -> UUID:
    blob = blobs.put_file(f"metamodels/{new_id()}/{Path(shipped.file).name}", folder / shipped.file)
    known = session.scalars(
        select(Metamodel).where(Metamodel.name == shipped.name, Metamodel.sha256 == blob.sha256).limit(1)
    ).one_or_none()
    if known is not None:
        blobs.delete(blob.key)
        return known.id
    latest = session.scalars(select(func.max(Metamodel.version)).where(Metamodel.name == shipped.name)).one()
    champion = session.scalars(
        select(Metamodel).where(Metamodel.role == shipped.role, Metamodel.state == MetamodelState.CHAMPION)
    ).one_or_none()
    is_free = champion is None or not champion.learned_from.get("projects")
    takes_over = is_free and shipped.state == MetamodelState.CHAMPION
    if champion is not None and takes_over:
        champion.state = MetamodelState.RETIRED
        session.flush()
    metamodel = Metamodel(
        id=new_id(),
        role=shipped.role,
        name=shipped.name,
        version=(latest or 0) + 1,
        state=MetamodelState.CHAMPION if takes_over else MetamodelState.CHALLENGER,
        blob_key=blob.key,
        sha256=blob.sha256,
        learned_from=dict(shipped.learned_from),
        replay=dict(shipped.replay),
        promoted_at=func.now() if takes_over else None,
    )
    session.add(metamodel)
    session.flush()
    return metamodel.id


def _load_embeddings(session: Session, archive: Archive, metamodels: Mapping[str, UUID]) -> None:
    owned = KnowledgeTask.project_id.is_(None)
    tasks = dict(session.execute(select(KnowledgeTask.fingerprint, KnowledgeTask.id).where(owned)).all())
    rows = [
        {"task": tasks[fingerprint], "metamodel": metamodels[file], "embedding": str(numbers)}
        for fingerprint, file, numbers in archive.embeddings()
        if fingerprint in tasks and file in metamodels
    ]
    if rows:
        session.execute(
            text(
                "INSERT INTO knowledge_embeddings (task_id, metamodel_id, embedding)"
                " VALUES (:task, :metamodel, CAST(:embedding AS vector)) ON CONFLICT DO NOTHING"
            ),
            rows,
        )
