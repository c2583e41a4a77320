"""`warmstart metamodels train`: the same weights from the same command."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
COMMAND = (sys.executable, "-m", "app.cli", "metamodels", "train", "siamese")


def train(*arguments: str | Path) -> str:
    """What it prints."""
    done = subprocess.run(
        [*COMMAND, *map(str, arguments), "--threads", "1"],
        cwd=REPOSITORY,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


@pytest.mark.timeout(240)
def test_twice_the_same_weights(tmp_path: Path) -> None:
    """And a curve, which is not drawn twice when there is nothing left to do."""
    one, other = tmp_path / "one.safetensors", tmp_path / "other.safetensors"
    train(tmp_path / "one", "--steps", "4", "--ship", one)
    train(tmp_path / "two", "--steps", "4", "--ship", other)
    assert one.read_bytes() == other.read_bytes()
    curve = (tmp_path / "one" / "losses.csv").read_text()
    assert curve.startswith("4,")
    assert train(tmp_path / "one", "--steps", "4") == ""
    assert (tmp_path / "one" / "losses.csv").read_text() == curve
