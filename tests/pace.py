"""How slow this machine is just now: tests that wait for other processes wait the longer."""

from __future__ import annotations

import time

_QUICK_S = 0.012  # of the loop below, on the machine where the tests' seconds were chosen
_MOST = 5.0


def _slowness() -> float:
    """1 to 5: times that a loop takes longer than there. The best of a few, since it is a machine that is measured."""
    best = float("inf")
    for _ in range(5):
        started, total = time.perf_counter(), 0
        for number in range(300_000):
            total += number * number
        best = min(best, time.perf_counter() - started)
    return min(_MOST, max(1.0, best / _QUICK_S))


SLOWNESS = _slowness()
