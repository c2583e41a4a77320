"""Which official foundation models the operator has installed: a package, and its weights in the folder of a setting.

Neither comes with Warmstart, and nothing is downloaded.

- `tabicl`: Qu et al., "TabICL: A tabular foundation model for in-context learning on large data", 2025.
- `tabpfn`: Hollmann et al., "Accurate predictions on small data with a tabular foundation model", 2025.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from functools import cache
from importlib.util import find_spec
from pathlib import Path

FOLDER = "WARMSTART_FOUNDATION_MODELS"  #: the environment variable that names the folder of weights
#: package -> names of its two estimators
PACKAGES: Mapping[str, Mapping[str, str]] = {
    "tabicl": {"classifier": "TabICLClassifier", "regressor": "TabICLRegressor"},
    "tabpfn": {"classifier": "TabPFNClassifier", "regressor": "TabPFNRegressor"},
}


def installed() -> tuple[str, ...]:
    """Packages that are there, with weights for either sort of target."""
    return tuple(
        package
        for package, sorts in PACKAGES.items()
        if any(weights(package, sort) for sort in sorts) and find_spec(package) is not None
    )


def weights(package: str, sort: str) -> Path | None:
    """The file of weights for "classifier" or "regressor", by its name; of several the last by name.

    Official names say the package, then the sort, or neither sort where the weights are for both.
    """
    folder = os.environ.get(FOLDER)
    if not folder:
        return None
    files = sorted(path for path in Path(folder).glob(f"{package}*") if path.is_file())
    own = [path for path in files if sort in path.name]
    both = [path for path in files if not any(other in path.name for other in PACKAGES[package])]
    found = own or both
    return found[-1] if found else None


def sort_of(classes: int) -> str:
    """By the number of classes; 0: values."""
    return "classifier" if classes else "regressor"


def digest(path: Path) -> str:
    """SHA-256 of a file of weights."""
    stat = path.stat()
    return _digest(path, stat.st_mtime_ns, stat.st_size)


@cache
def _digest(path: Path, changed: int, size: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
