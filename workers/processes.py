"""Killing a runner and everything it has started, whatever sessions and parents those processes have by now.

A runner's environment carries a token that every descendant inherits, so that /proc finds them all.
"""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from pathlib import Path

#: Environment variable of the token.
TOKEN = "WARMSTART_RUN"  # noqa: S105
_ROUNDS = 200
_PAUSE_S = 0.005
_CLEAR = 4  # looks in a row that must find none: while a process begins another program it shows no environment


def find_marked(token: str) -> list[int]:
    """Process ids that carry the token. Zombies don't: they are gone already."""
    mark = f"{TOKEN}={token}".encode()
    return [int(folder.name) for folder in Path("/proc").iterdir() if folder.name.isdigit() and _carries(folder, mark)]


def kill_marked(token: str) -> int:
    """SIGKILL every process that carries the token until there is none; how many were left at the end.

    Rounds, because one that forks wildly may have made more while we looked.
    """
    left: list[int] = []
    clear = 0
    for _ in range(_ROUNDS):
        left = find_marked(token)
        clear = 0 if left else clear + 1
        if clear == _CLEAR:
            break
        for pid in left:
            send(pid, signal.SIGKILL)
        time.sleep(_PAUSE_S)
    return len(left)


def send(pid: int, number: signal.Signals) -> None:
    """Signal a process that may be gone."""
    with suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)


def send_group(pid: int, number: signal.Signals) -> None:
    """Signal a process group that may be gone."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)


def _carries(folder: Path, mark: bytes) -> bool:
    try:
        return mark in (folder / "environ").read_bytes().split(b"\0")
    except OSError:
        return False
