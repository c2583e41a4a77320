"""A trained model as a file. `open_bundle` is the door for reading one with the service's own runtime."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .runtime.model import BundleModel


def open_bundle(path: Path, sha256: str | None = None) -> BundleModel:
    """Load a bundle; with `sha256` (hex) only if the whole file has that digest. No code in it is run.

    Raises:
        FileNotFoundError: nothing is there.
        BundleError: damaged, of an unknown format, or with types that a bundle may not contain.
    """
    import hashlib

    from ..errors import BundleError
    from .runtime.errors import BundleProblem
    from .runtime.model import BundleModel

    try:
        if sha256 is not None:
            with path.open("rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
            if found != sha256:
                raise BundleError("The bundle's SHA-256 is not the one that was recorded.")
        return BundleModel.load(path)
    except BundleProblem as error:
        raise BundleError(str(error)) from error
