"""Processes of ours and of an ordinary user, and what is left of them."""

from __future__ import annotations

import errno
import os
import pwd
import shutil
import stat
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).parents[3]


def _link_or_copy(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError as error:
        if error.errno not in (errno.EXDEV, errno.EPERM, errno.EMLINK):
            raise
        shutil.copy2(source, target)


def _is_reachable(path: Path) -> bool:
    return all(folder.stat().st_mode & stat.S_IXOTH for folder in (path.resolve(), *path.resolve().parents))


def _reachable(path: Path, target: Path, *leave_out: str) -> Path:
    """The folder itself if everybody may read it, else a copy at `target`, by hard links where that is possible."""
    if not _is_reachable(path):
        ignored = shutil.ignore_patterns(*leave_out)
        shutil.copytree(path, target, symlinks=True, ignore=ignored, copy_function=_link_or_copy)
        return target
    return path


@pytest.fixture(scope="session")
def interpreter() -> Iterator[tuple[Path, dict[str, str]]]:
    """Python with this environment's packages, as an ordinary user can run it, and the variables that it needs."""
    folder = Path(tempfile.mkdtemp(prefix="ws-python-"))
    folder.chmod(0o755)
    base, version = Path(sys.base_prefix), f"python{sys.version_info[0]}.{sys.version_info[1]}"
    if not _is_reachable(base):
        (folder / "bin").mkdir()
        _link_or_copy(str((base / "bin" / version).resolve()), str(folder / "bin" / version))
        _reachable(base / "lib", folder / "lib", "site-packages", "test", "idlelib", "pkgconfig")
        base = folder
    packages = _reachable(Path(sysconfig.get_path("purelib")), folder / "packages")
    ours = _reachable(REPOSITORY, folder / "repository", ".venv", ".git", "data", "results", "__pycache__")
    variables = {
        "PYTHONHOME": str(base),
        "LD_LIBRARY_PATH": str(base / "lib"),
        "PYTHONPATH": f"{ours}:{packages}",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    yield base / "bin" / version, variables
    shutil.rmtree(folder)


@dataclass(frozen=True)
class Account:
    """Somebody who runs our programs: ourselves, or an ordinary user when we are root."""

    name: str
    python: Path
    folder: Path  #: theirs alone
    environment: dict[str, str]

    def popen(self, *arguments: str, **options: Any) -> subprocess.Popen[str]:
        """Start Python with these arguments, in a session of its own."""
        if self.name != "ourselves":
            user = pwd.getpwnam(self.name)
            options |= {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
        return subprocess.Popen(
            [str(self.python), *arguments],
            env=self.environment,
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
            **options,
        )


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that only its owner can enter, with a short path."""
    path = Path(tempfile.mkdtemp(prefix="ws-local-"))
    yield path
    shutil.rmtree(path)


#: Who can run our programs here.
ACCOUNTS = ["ourselves", "nobody"] if os.geteuid() == 0 else ["ourselves"]


@pytest.fixture
def make_account(request: pytest.FixtureRequest, folder: Path) -> Callable[[str], Account]:
    """An account by name, with a folder of its own."""
    quiet = {name: value for name, value in os.environ.items() if not name.startswith("WARMSTART_")}

    def make(name: str) -> Account:
        own = Path(tempfile.mkdtemp(dir=folder))
        if name == "ourselves":
            return Account(name, Path(sys.executable), own, quiet | {"PYTHONPATH": str(REPOSITORY)})
        python, variables = request.getfixturevalue("interpreter")
        user = pwd.getpwnam(name)
        folder.chmod(0o711)
        os.chown(own, user.pw_uid, user.pw_gid)
        return Account(name, python, own, quiet | variables | {"HOME": str(own), "USER": name, "TMPDIR": str(own)})

    return make


@pytest.fixture(params=ACCOUNTS)
def account(request: pytest.FixtureRequest, make_account: Callable[[str], Account]) -> Account:
    """Ourselves; when we are root, then also an ordinary user."""
    return make_account(request.param)


@pytest.fixture
def two_accounts(make_account: Callable[[str], Account]) -> list[Account]:
    """Ourselves, and an ordinary user when we are root, else ourselves once more."""
    return [make_account("ourselves"), make_account(ACCOUNTS[-1])]


def _mentioning(text: str) -> list[str]:
    """Command lines of the processes whose command or environment holds a text, this one's ancestors not among them."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and entry.name != str(os.getpid()):
            with suppress(OSError):
                command = (entry / "cmdline").read_bytes()
                if text.encode() in command or text.encode() in (entry / "environ").read_bytes():
                    found.append(f"{entry.name}: {command.decode(errors='replace')}")
    return found


@pytest.fixture
def assert_gone() -> Callable[..., None]:
    """Checks that within some seconds no process is left whose command or environment holds a text."""

    def check(text: str, seconds: float = 15) -> None:
        until = time.monotonic() + seconds
        while (left := _mentioning(text)) and time.monotonic() < until:
            time.sleep(0.1)
        assert left == []

    return check
