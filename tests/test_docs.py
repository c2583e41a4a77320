"""What README and guide tell people to type works; pages made from code are current."""

from __future__ import annotations

import math
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from app.cli import app
from tests.pace import SLOWNESS

ROOT = Path(__file__).parents[1]
_TESTED = re.compile(r"<!-- tested -->\n```(sh|python)\n(.*?)```", re.DOTALL)


def _snippets(page: str, language: str) -> str:
    """The page's tested snippets in one language, in order, with budgets that suit a test."""
    text = (ROOT / page).read_text()
    code = "\n".join(code for name, code in _TESTED.findall(text) if name == language)
    return re.sub(r'("seconds": )\d+', rf"\g<1>{math.ceil(12 * SLOWNESS)}", code)


def _run(command: list[str], folder: Path, stack: Any) -> str:
    (folder / "app").symlink_to(ROOT / "app")
    environment = os.environ | {"WARMSTART_URL": stack.url, "WARMSTART_KEY": stack.key}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300 * SLOWNESS, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.xdist_group("stack")
def test_the_readmes_curl_commands_work(stack: Any, tmp_path: Path) -> None:
    said = _run(["bash", "-euo", "pipefail", "-c", _snippets("README.md", "sh")], tmp_path, stack)
    assert "event: model" in said
    assert "event: end" in said
    assert re.search(r'"predictions": ?\["(Adelie|Chinstrap|Gentoo)"\]', said)


@pytest.mark.xdist_group("stack")
def test_the_readmes_python_works(stack: Any, tmp_path: Path) -> None:
    said = _run([sys.executable, "-c", _snippets("README.md", "python")], tmp_path, stack)
    assert "succeeded" in said
    assert (tmp_path / "model.zip").stat().st_size > 1000


@pytest.mark.xdist_group("stack")
def test_the_guides_commands_work(stack: Any, tmp_path: Path) -> None:
    said = _run(["bash", "-euo", "pipefail", "-c", _snippets("docs/api.md", "sh")], tmp_path, stack)
    assert "event: end" in said
    assert "Did you mean 'species'?" in said
    assert re.search(r'"predictions": ?\[', said)
    first, second, cursor = said.rstrip().splitlines()[-3:]
    assert first == second
    assert cursor


def test_the_page_of_settings_is_current() -> None:
    made = CliRunner().invoke(app, ["settings", "--markdown"]).stdout
    assert (ROOT / "docs" / "settings.md").read_text().endswith(f"\n\n{made}"), "make docs/settings.md anew"


def test_every_make_target_in_the_readme_exists() -> None:
    makefile = (ROOT / "Makefile").read_text()
    named = set(re.findall(r"^make ([a-z-]+)", (ROOT / "README.md").read_text(), flags=re.MULTILINE))
    assert named
    assert all(re.search(rf"^{target}:", makefile, flags=re.MULTILINE) for target in named)


@pytest.mark.parametrize("page", ["README.md", "docs/api.md", "docs/architecture.md"])
def test_every_linked_file_exists(page: str) -> None:
    path = ROOT / page
    links = [link for link in re.findall(r"\]\(([^)#]+)", path.read_text()) if "://" not in link]
    assert [link for link in links if not (path.parent / link).exists()] == []
