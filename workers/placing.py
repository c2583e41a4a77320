"""Tasks that the champion has not placed among the others: of earlier champions' days, imported, or from a rollback."""

from __future__ import annotations

from sqlalchemy.orm import Session

from app.blobs import Blobs
from app.knowledge import repository
from app.knowledge.tables import Metamodel
from workers.engine.meta.embeddings import TaskEmbedding, load_embedding


def place_missing(session: Session, blobs: Blobs, champion: Metamodel, most: int) -> int:
    """Place at most so many; how many it was."""
    rows = repository.list_unplaced(session, champion.id, most)
    if rows:
        place(session, champion, load_embedding(champion.name, blobs.path(champion.blob_key)), most)
    return len(rows)


def place(session: Session, metamodel: Metamodel, embedding: TaskEmbedding, most: int) -> int:
    """The same by an embedding that is loaded already."""
    rows = repository.list_unplaced(session, metamodel.id, most)
    for task in rows:
        repository.keep_embedding(session, task.id, metamodel.id, embedding.embed(task.metafeatures).tolist())
    return len(rows)
