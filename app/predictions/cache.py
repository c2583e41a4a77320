"""Loaded bundles, the least recently used given up first."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from workers.engine.bundle.runtime.model import BundleModel

Load = Callable[[Path, str], "BundleModel"]


@dataclass(frozen=True)
class _Entry:
    model: BundleModel
    size: int


class BundleCache:
    """Bundles by digest, within `max_bytes` of files on disk; the newest stays even if it alone is larger.

    Thread-safe. Several threads that ask for the same bundle wait for one load.
    """

    def __init__(self, max_bytes: int, load: Load) -> None:
        self._max_bytes = max_bytes
        self._load = load
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        self._loading: dict[str, threading.Lock] = {}
        self._lock = threading.Lock()

    def get(self, path: Path, sha256: str) -> BundleModel:
        """The bundle with this digest, read from `path` unless it is loaded.

        Raises:
            FileNotFoundError: nothing is there any more.
            BundleError: damaged, or not what the digest says.
        """
        if (found := self._find(sha256)) is not None:
            return found
        with self._lock:
            turn = self._loading.setdefault(sha256, threading.Lock())
        with turn:
            if (found := self._find(sha256)) is not None:
                return found
            try:
                size = path.stat().st_size
                model = self._load(path, sha256)
                self._keep(sha256, _Entry(model, size))
            finally:
                with self._lock:
                    self._loading.pop(sha256, None)
            return model

    def _find(self, sha256: str) -> BundleModel | None:
        with self._lock:
            if sha256 not in self._entries:
                return None
            self._entries.move_to_end(sha256)
            return self._entries[sha256].model

    def _keep(self, sha256: str, entry: _Entry) -> None:
        with self._lock:
            self._entries[sha256] = entry
            total = sum(kept.size for kept in self._entries.values())
            while total > self._max_bytes and len(self._entries) > 1:
                total -= self._entries.popitem(last=False)[1].size
