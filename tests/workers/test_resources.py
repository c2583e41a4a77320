"""What a container grants, read from made-up cgroups of both versions."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.settings import Settings
from workers.resources import granted_cores, granted_memory_mb, slot_cores, slot_memory_mb

_MEMINFO = "MemTotal:       16384000 kB\nMemFree: 1 kB\n"


def _write(root: Path, files: dict[str, str]) -> None:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)


@pytest.mark.parametrize(
    ("own", "files", "cores", "memory_mb"),
    [
        ("0::/\n", {"cpu.max": "150000 100000", "memory.max": "1073741824"}, 1, 1024),
        ("0::/a/b\n", {"a/cpu.max": "100000 100000", "a/b/cpu.max": "max 100000", "a/memory.max": "max"}, 1, 16000),
        (
            "4:cpu,cpuacct:/box\n3:memory:/box\n",
            {
                "cpu/box/cpu.cfs_quota_us": "50000",
                "cpu/box/cpu.cfs_period_us": "100000",
                "memory/box/memory.limit_in_bytes": "536870912",
            },
            1,
            512,
        ),
    ],
)
def test_the_least_grant_counts_when_a_cgroup_limits(
    tmp_path: Path, own: str, files: dict[str, str], cores: int, memory_mb: int
) -> None:
    _write(tmp_path, {"own": own, "meminfo": _MEMINFO})
    _write(tmp_path / "root", files)
    assert granted_cores(tmp_path / "root", tmp_path / "own") == cores
    assert granted_memory_mb(tmp_path / "root", tmp_path / "own", tmp_path / "meminfo") == memory_mb


def test_slots_share_evenly_when_a_worker_has_several() -> None:
    settings = Settings(worker_slots=3, worker_cores=8, worker_memory_mb=6000)
    assert (slot_cores(settings), slot_memory_mb(settings)) == (2, 2000)
    assert slot_cores(Settings(worker_slots=4, worker_cores=1)) == 1
