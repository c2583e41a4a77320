"""Tasks that the champion has not placed among the others: of earlier champions' days, imported, or from a rollback."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy.orm import Session

from app.blobs import Blobs
from app.knowledge import repository
from app.knowledge.tables import KnowledgeTask, Metamodel
from workers.engine.meta.embeddings import TaskEmbedding, load_embedding


def place_missing(session: Session, blobs: Blobs, champion: Metamodel, most: int) -> int:
    """Place at most so many; how many it was."""
    rows = repository.list_unplaced(session, champion.id, most)
    if rows:  # else it need not be loaded
        _place(session, rows, champion, load_embedding(champion.name, blobs.path(champion.blob_key)))
    return len(rows)


def place(session: Session, metamodel: Metamodel, embedding: TaskEmbedding, most: int) -> int:
    """The same by an embedding that is loaded already."""
    rows = repository.list_unplaced(session, metamodel.id, most)
    _place(session, rows, metamodel, embedding)
    return len(rows)


def _place(session: Session, tasks: Sequence[KnowledgeTask], metamodel: Metamodel, embedding: TaskEmbedding) -> None:
    for task in tasks:
        repository.keep_embedding(session, task.id, metamodel.id, embedding.embed(task.metafeatures).tolist())
