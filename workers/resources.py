"""How many cores and how much memory this process is granted: affinity, and cgroups v1 and v2."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from app.settings import Settings

CGROUPS = Path("/sys/fs/cgroup")

#: Libraries read these when they load; one thread each, because trials run side by side and ask for more themselves.
SINGLE_THREAD = dict.fromkeys(
    (
        "OMP_NUM_THREADS",
        "OPENBLAS_NUM_THREADS",
        "MKL_NUM_THREADS",
        "NUMEXPR_NUM_THREADS",
        "VECLIB_MAXIMUM_THREADS",
        "ARROW_NUM_THREADS",
    ),
    "1",
)


def slot_cores(settings: Settings) -> int:
    """Cores of one worker slot, at least 1."""
    return max(1, (settings.worker_cores or granted_cores()) // settings.worker_slots)


def slot_memory_mb(settings: Settings) -> int:
    """Memory of one worker slot."""
    return (settings.worker_memory_mb or granted_memory_mb()) // settings.worker_slots


def granted_cores(root: Path = CGROUPS, own: Path = Path("/proc/self/cgroup")) -> int:
    """Cores by affinity or by CPU quota, whichever is less; at least 1."""
    quotas = [len(os.sched_getaffinity(0))]
    quotas += [max(1, int(quota)) for quota in _quotas(root, own)]
    return min(quotas)


def granted_memory_mb(
    root: Path = CGROUPS, own: Path = Path("/proc/self/cgroup"), meminfo: Path = Path("/proc/meminfo")
) -> int:
    """Memory of the machine or of the cgroup, whichever is less."""
    total_kb = next(int(line.split()[1]) for line in meminfo.read_text().splitlines() if line.startswith("MemTotal"))
    limits = [total_kb // 1024]
    names = (("memory", "memory.max"), ("memory", "memory.limit_in_bytes"))
    for controller, name in names:
        texts = (_read(folder / name) for folder in _folders(root, own, controller))
        limits += [int(text) >> 20 for text in texts if text.isdigit()]
    return min(limits)


def _quotas(root: Path, own: Path) -> Iterator[float]:
    for folder in _folders(root, own, "cpu"):
        quota, _, period = _read(folder / "cpu.max").partition(" ")
        if quota.isdigit() and period.isdigit():
            yield int(quota) / int(period)
        v1, v1_period = _read(folder / "cpu.cfs_quota_us"), _read(folder / "cpu.cfs_period_us")
        if v1.isdigit() and v1_period.isdigit():
            yield int(v1) / int(v1_period)


def _folders(root: Path, own: Path, controller: str) -> Iterator[Path]:
    """Our own cgroup and all above it; in a container the root is often all that can be seen."""
    yield from (root, root / controller)
    for line in _read(own).splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        base = root / controller if controllers else root
        folder = base / path.lstrip("/")
        while folder != base and base in folder.parents:
            yield folder
            folder = folder.parent


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
