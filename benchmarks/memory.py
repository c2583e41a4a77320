"""Peak memory of a process with all its descendants, sampled four times a second."""

from __future__ import annotations

import threading
from pathlib import Path

import psutil


class PeakMemory:
    """Peak of the summed proportional set sizes of a process and its descendants, in MB, while the block runs."""

    def __init__(self, pid: int) -> None:
        self.peak_mb = 0.0
        self._root = psutil.Process(pid)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)

    def __enter__(self) -> PeakMemory:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _sample(self) -> None:
        while not self._stop.wait(0.25):
            total = sum(_pss_kb(pid) for pid in self._pids())
            self.peak_mb = max(self.peak_mb, total / 1024)

    def _pids(self) -> list[int]:
        try:
            return [self._root.pid, *(child.pid for child in self._root.children(recursive=True))]
        except psutil.NoSuchProcess:
            return []


def _pss_kb(pid: int) -> int:
    try:
        with Path(f"/proc/{pid}/smaps_rollup").open() as file:
            return next((int(text.split()[1]) for text in file if text.startswith("Pss:")), 0)
    except OSError:  # it has just ended
        return 0
