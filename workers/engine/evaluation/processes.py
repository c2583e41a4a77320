"""Trees of processes: their memory, and their end."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from pathlib import Path

_PROC = Path("/proc")


def tree(pid: int) -> list[int]:
    """A process and its descendants, by the kernel's own lists of children."""
    found, open_ = [], [pid]
    while open_:
        current = open_.pop()
        found.append(current)
        with suppress(OSError):  # it has ended meanwhile
            for task in Path(f"/proc/{current}/task").iterdir():
                with suppress(OSError):
                    open_ += map(int, (task / "children").read_text().split())
    return found


def private_mb(pid: int) -> float:
    """Private memory of one process; 0 when it has ended."""
    try:
        with Path(f"/proc/{pid}/smaps_rollup").open() as file:
            return sum(int(line.split()[1]) for line in file if line.startswith("Private_")) / 1024
    except OSError:
        return 0.0


def kill_tree(pid: int) -> None:
    """End a session leader, its descendants and its session: freeze until nothing new appears, then kill."""
    frozen: set[int] = set()
    for _ in range(100):
        fresh = (set(tree(pid)) | _session(pid)) - frozen
        if not fresh:
            break
        for member in fresh:
            _signal(member, signal.SIGSTOP)
        frozen |= fresh
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
