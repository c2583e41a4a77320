"""Bundles of every format that was ever written keep their answers. See golden/regenerate.py."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from workers.engine.bundle import open_bundle

GOLDEN = sorted((Path(__file__).parent / "golden").glob("v*/*.zip"))


def assert_close(found: Any, expected: Any) -> None:
    """Equal, numbers to 1e-6."""
    if isinstance(expected, dict):
        assert found.keys() == expected.keys()
        for key in expected:
            assert_close(found[key], expected[key])
    elif isinstance(expected, list):
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            assert_close(one, other)
    else:
        assert found == (pytest.approx(expected, abs=1e-6) if isinstance(expected, float) else expected)


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_golden_bundle_gives_the_answers_it_gave(path: Path) -> None:
    rows = json.loads((path.parent / "rows.json").read_text(encoding="utf-8"))
    expected = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    assert_close(open_bundle(path).predict(rows), expected)


def test_there_are_golden_bundles_of_every_kind() -> None:
    assert {path.stem for path in GOLDEN} == {"binary", "multiclass", "regression"}
