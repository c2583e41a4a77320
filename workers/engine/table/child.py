"""The reader's child process: `python -m workers.engine.table.child request.json answer.json`.

Limits itself before it imports anything that parses, then reads and answers in a file: either the fields of `ReadTable`
or {"error": {"code", "detail"}}.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import resource
import signal
import sys
from pathlib import Path
from typing import Any

_PR_SET_PDEATHSIG = 1
_SLACK = 1536 << 20  # address space that libraries reserve and never touch; the parent samples what is used


def main() -> None:
    """Read the request, answer it."""
    request_path, answer_path = Path(sys.argv[1]), Path(sys.argv[2])
    request: dict[str, Any] = json.loads(request_path.read_text())
    limit_self(request["limits"])
    temporary = answer_path.with_suffix(".tmp")
    temporary.write_text(json.dumps(answer(request), allow_nan=False))
    temporary.replace(answer_path)


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """The fields of a `ReadTable`, or the error."""
    from ..errors import TableError
    from .convert import convert
    from .read import ReadLimits

    try:
        return convert(
            Path(request["source"]),
            Path(request["out"]),
            Path(request["work"]),
            ReadLimits(**request["limits"]),
            filename=request["filename"],
            header=request["header"],
        )
    except TableError as error:
        return _error(error.code, str(error))
    except MemoryError:
        return _error("out_of_memory", "Reading the file needs more memory than allowed.")
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            return _error("storage_full", "No room left to read the file.")
        raise


def limit_self(limits: dict[str, Any]) -> None:
    """Bound memory, processor time and file sizes; die with the parent; be the first to go when memory is short."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        Path("/proc/self/oom_score_adj").write_text("1000")
    memory = (int(limits["memory_mb"]) << 20) + _SLACK
    seconds = int(limits["seconds"] * (os.cpu_count() or 1)) + 1
    resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (2 * limits["max_bytes"], 2 * limits["max_bytes"]))
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # a write over the limit is EFBIG, an error like a full disk


def _error(code: str, detail: str) -> dict[str, Any]:
    return {"error": {"code": code, "detail": detail}}


if __name__ == "__main__":
    main()
