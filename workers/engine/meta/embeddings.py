"""The metamodels that place a task among others; which one a job uses is the champion's name."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from .metafeature_embedding import MetafeatureEmbedding
from .siamese import Siamese

TaskEmbedding = MetafeatureEmbedding | Siamese

EMBEDDINGS: Final[dict[str, type[MetafeatureEmbedding] | type[Siamese]]] = {
    one.name: one for one in (MetafeatureEmbedding, Siamese)
}


def load_embedding(name: str, path: Path) -> TaskEmbedding:
    """The embedding of this name that `save` wrote."""
    return EMBEDDINGS[name].load(path)
