"""The cache of bundles: one load a bundle, the least recently used given up, nothing kept of a failure."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from app.predictions.cache import BundleCache


class Loader:
    """Counts loads."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.loads: list[str] = []
        self.seconds = seconds
        self.lock = threading.Lock()

    def __call__(self, path: Path, sha256: str) -> str:
        with self.lock:
            self.loads.append(sha256)
        time.sleep(self.seconds)
        return f"model of {path.name}"


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """Three files of 100 bytes."""
    paths = [tmp_path / name for name in "abc"]
    for path in paths:
        path.write_bytes(b"x" * 100)
    return paths


def test_bundle_is_loaded_once_when_many_ask(files: list[Path]) -> None:
    load = Loader(0.05)
    cache = BundleCache(1000, load)
    with ThreadPoolExecutor(16) as pool:
        models = list(pool.map(lambda _: cache.get(files[0], "a"), range(64)))
    assert set(models) == {"model of a"}
    assert load.loads == ["a"]


def test_bundles_load_side_by_side_when_they_differ(files: list[Path]) -> None:
    cache = BundleCache(1000, Loader(0.2))
    started = time.monotonic()
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda path: cache.get(path, path.name), files))
    assert time.monotonic() - started < 0.5


def test_least_recently_used_is_given_up_when_full(files: list[Path]) -> None:
    load = Loader()
    cache = BundleCache(200, load)
    for name in ("a", "b", "a", "c", "a", "b"):
        cache.get(next(path for path in files if path.name == name), name)
    assert load.loads == ["a", "b", "c", "b"]


def test_newest_is_kept_when_it_is_larger_than_the_cache(files: list[Path]) -> None:
    load = Loader()
    cache = BundleCache(50, load)
    cache.get(files[0], "a")
    cache.get(files[0], "a")
    assert load.loads == ["a"]


def test_failure_is_not_remembered(files: list[Path]) -> None:
    load = Loader()
    cache = BundleCache(1000, load)
    with pytest.raises(FileNotFoundError):
        cache.get(files[0].with_name("absent"), "a")
    assert cache.get(files[0], "a") == "model of a"
