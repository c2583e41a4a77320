"""Metamodels that benchmarks train for themselves, kept in a scratch folder for reruns. None of them ships."""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path
from typing import Final

from workers.engine import meta
from workers.engine.catalog import get_metamodel
from workers.engine.meta.metamodel import Metamodel
from workers.engine.meta.past import Past
from workers.engine.space import SearchSpace

SCRATCH: Final = Path(tempfile.gettempdir()) / "warmstart-metamodels"


def trained(name: str, past: Past, space: SearchSpace, folder: Path, *, seed: int) -> Metamodel:
    """A metamodel of this past: from the folder, into which it goes if it is not there."""
    kind = get_metamodel(name)
    path = folder / f"{name}-{digest(past)}-{seed}.safetensors"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        kind.train(past, space, seed=seed).save(path)
    return kind.load(path)


def digest(past: Past) -> str:
    """Of these losses and of the code that learns from them: of other code, metamodels are trained anew."""
    sources = sorted(Path(meta.__file__).parent.glob("*.py"))
    return hashlib.sha256(past.losses.tobytes() + b"".join(map(Path.read_bytes, sources))).hexdigest()[:12]
