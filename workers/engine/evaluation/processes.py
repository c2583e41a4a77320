"""Trees of processes: their memory, and their end."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from pathlib import Path

_PROC = Path("/proc")


def tree(pid: int, most: int | None = None) -> list[int]:
    """A process and its descendants, by the kernel's own lists of children; no more than `most` + 1."""
    found: list[int] = []
    unvisited = [pid]
    while unvisited and (most is None or len(found) <= most):
        current = unvisited.pop()
        found.append(current)
        unvisited += _children(current)
    return found


def _children(pid: int) -> list[int]:
    found: list[int] = []
    with suppress(OSError):  # it has ended meanwhile
        for task in Path(f"/proc/{pid}/task").iterdir():
            with suppress(OSError):
                found += map(int, (task / "children").read_text().split())
    return found


def private_mb(pid: int) -> float:
    """Private memory of one process; 0 when it has ended."""
    try:
        with Path(f"/proc/{pid}/smaps_rollup").open() as file:
            return sum(int(line.split()[1]) for line in file if line.startswith("Private_")) / 1024
    except OSError:
        return 0.0


def kill_tree(pid: int) -> None:
    """End a session leader, its descendants and its session.

    Each is frozen before its children are listed, so that the list is final and even a fork bomb comes to an end.
    """
    frozen: set[int] = set()
    while unvisited := list(({pid} | _session(pid)) - frozen):
        while unvisited:
            current = unvisited.pop()
            if current not in frozen:
                frozen.add(current)
                _signal(current, signal.SIGSTOP)
                unvisited += _children(current)
    for member in frozen:
        _signal(member, signal.SIGKILL)


def _session(leader: int) -> set[int]:
    members = set()
    for entry in _PROC.iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                if os.getsid(int(entry.name)) == leader:
                    members.add(int(entry.name))
    return members


def _signal(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)
