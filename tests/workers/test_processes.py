"""Whoever carries a runner's token dies with it."""

from __future__ import annotations

import os
import subprocess
import time
from uuid import uuid4

from workers import processes

_BECOMES_ANOTHER = "exec sh -c \"exec sh -c 'exec sleep 30'\""


def test_none_escapes_by_becoming_another_program_at_that_moment() -> None:
    escaped = 0
    for attempt in range(90):
        token = uuid4().hex
        process = subprocess.Popen(["/bin/sh", "-c", _BECOMES_ANOTHER], env={**os.environ, processes.TOKEN: token})
        time.sleep(attempt % 30 / 10_000)
        assert processes.kill_marked(token) == 0
        time.sleep(0.01)
        escaped += len(processes.find_marked(token))
        process.kill()
        process.wait()
    assert escaped == 0
