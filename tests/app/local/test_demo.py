"""What a newcomer runs first."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.pace import SLOWNESS


@pytest.mark.timeout(900)
def test_the_demo_goes_the_whole_road_and_leaves_nothing(folder: Path, assert_gone: Callable[..., None]) -> None:
    command = [sys.executable, "-m", "app.cli", "demo", "--seconds", str(math.ceil(15 * SLOWNESS))]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("WARMSTART_")}
    environment |= {"TMPDIR": str(folder), "PYTHONPATH": str(Path(__file__).parents[3]), "COLUMNS": "120"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    for promise in ("Leaderboard", "95 % interval", "as the service says", "largest difference", "nothing is left"):
        assert promise in done.stdout
    assert_gone(str(folder), 1)
    assert list(folder.iterdir()) == []
