"""Trees of processes: their memory, and their end."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

_PATIENCE_S = 2.0  # until killed processes must be gone


def tree(pid: int, most: int | None = None) -> list[int]:
    """A process and its descendants, by the kernel's own lists of children; no more than `most` + 1."""
    found: list[int] = []
    unvisited = [pid]
    while unvisited and (most is None or len(found) <= most):
        current = unvisited.pop()
        found.append(current)
        unvisited += children(current)
    return found


def children(pid: int) -> list[int]:
    """The processes that its threads have forked or that it has adopted; none when it has ended."""
    found: list[int] = []
    with suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            with suppress(OSError):
                found += map(int, (task / "children").read_text().split())
    return found


def session(pid: int) -> int | None:
    """The process's session; None when it has ended."""
    try:
        return os.getsid(pid)
    except ProcessLookupError:
        return None


def memory_mb(pids: Sequence[int]) -> float:
    """Memory that would be free if these processes were not, in MB; files that are merely mapped do not count.

    Of one process it is what no other shares; of several also what they share, as each one's part (PSS).
    """
    counted = ("Pss_Anon", "Pss_Shmem") if len(pids) > 1 else ("Private_Dirty", "Private_Hugetlb")
    return sum(_rollup_mb(pid, (*counted, "SwapPss")) for pid in pids)


def _rollup_mb(pid: int, names: Sequence[str]) -> float:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    except OSError:  # it has ended meanwhile
        return 0.0
    pairs = (line.split()[:2] for line in lines)
    return sum(int(kilobytes) for name, kilobytes in pairs if name.rstrip(":") in names) / 1024


def kill_tree(pid: int) -> None:
    """End a process and its descendants.

    Each is frozen before its children are listed, so that even a fork bomb comes to an end. What escapes, because its
    parent had ended before, is the business of the subreaper above.
    """
    frozen: list[int] = []
    unvisited = [pid]
    while unvisited:
        current = unvisited.pop()
        _signal(current, signal.SIGSTOP)
        frozen.append(current)
        unvisited += children(current)
    for member in frozen:
        _signal(member, signal.SIGKILL)


def kill_children(pid: int) -> None:
    """End all descendants of the calling process, a subreaper whose id is `pid`; what they leave behind, too."""
    if os.getpid() != pid:  # a forked copy of whoever registered this
        return
    until = time.monotonic() + _PATIENCE_S
    while (living := children(pid)) and time.monotonic() < until:
        for child in living:
            kill_tree(child)
        with suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                continue
        time.sleep(0.002)


def _signal(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)
