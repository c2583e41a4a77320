"""Small real bundles, made as the golden ones are."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from workers.engine.bundle import open_bundle
from workers.engine.types import TaskKind

GOLDEN = Path(__file__).parent / "golden"


@pytest.fixture(scope="session")
def golden() -> Path:
    """Folder of the golden bundles."""
    return GOLDEN


@pytest.fixture(scope="session")
def recipe() -> ModuleType:
    """The script that makes golden bundles."""
    spec = importlib.util.spec_from_file_location("golden_recipe", GOLDEN / "regenerate.py")
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def bundles(recipe: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Callable[[TaskKind], Path]:
    """A bundle of each kind with two folds a member; made once."""
    folder = tmp_path_factory.mktemp("bundles")

    def get(kind: TaskKind) -> Path:
        path = folder / f"{kind}.zip"
        if not path.exists():
            recipe.make_bundle(path, kind, folds=2)
        return path

    return get


@pytest.fixture(scope="session")
def rows(recipe: ModuleType) -> list[dict[str, Any]]:
    """Rows with every oddity that is answered."""
    return recipe.ROWS


@pytest.fixture
def model(bundles: Callable[[TaskKind], Path]) -> Any:
    """A loaded binary model."""
    return open_bundle(bundles(TaskKind.BINARY))
