"""Datasets, trial artefacts and bundles as objects in a folder. Keys are made by us, never from user text."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

_KEY = re.compile(r"[a-z0-9][a-z0-9._-]*(/[a-z0-9][a-z0-9._-]*)*")


@dataclass(frozen=True, kw_only=True)
class Blob:
    """A stored object."""

    key: str
    sha256: str  #: hex
    bytes: int


class Blobs:
    """Objects under one folder. A put is atomic and durable: temporary file, fsync, rename, fsync of the folder."""

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()
        self.root.mkdir(parents=True, exist_ok=True, mode=0o700)

    def path(self, key: str) -> Path:
        """Where the object of this key lies. Read it, never write it.

        Raises:
            ValueError: not a key of ours.
        """
        if not _KEY.fullmatch(key) or ".." in key:
            raise ValueError(f"not a blob key: {key!r}")
        return self.root / key

    def put_file(self, key: str, source: Path) -> Blob:
        """Copy a file in."""
        with source.open("rb") as file:
            return self.put_stream(key, iter(lambda: file.read(1 << 20), b""))

    def put_stream(self, key: str, chunks: Iterator[bytes]) -> Blob:
        """Write an object as its chunks come. On any error nothing is left behind."""
        target = self.path(key)
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        temporary = target.with_name(f".{uuid4().hex}.tmp")
        digest, size = hashlib.sha256(), 0
        try:
            with temporary.open("xb") as file:
                for chunk in chunks:
                    digest.update(chunk)
                    size += len(chunk)
                    file.write(chunk)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(target)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        _sync_folder(target.parent)
        return Blob(key=key, sha256=digest.hexdigest(), bytes=size)

    def delete(self, key: str) -> None:
        """Remove an object; missing is fine."""
        self.path(key).unlink(missing_ok=True)

    def delete_tree(self, prefix: str) -> None:
        """Remove every object under a prefix such as `jobs/<id>`."""
        shutil.rmtree(self.path(prefix), ignore_errors=True)

    def children(self, prefix: str) -> list[str]:
        """Names of the objects and folders directly under a prefix; none if it does not exist."""
        folder = self.path(prefix)
        return [path.name for path in folder.iterdir() if path.name[0] != "."] if folder.is_dir() else []

    def age_s(self, key: str) -> float:
        """Seconds since this object or folder was last written; 0 if it is gone."""
        try:
            return time.time() - self.path(key).stat().st_mtime
        except FileNotFoundError:
            return 0.0

    def delete_temporary(self, *, older_than_s: float) -> int:
        """Remove what interrupted writes left behind; how many files."""
        stale = [path for path in self.root.rglob(".*.tmp") if time.time() - path.stat().st_mtime > older_than_s]
        for path in stale:
            path.unlink(missing_ok=True)
        return len(stale)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
