"""Reading an uploaded file as a table, in a process of its own with bounded memory, time and disk.

The parent never parses. The child (`child.py`) writes Parquet and a JSON description; whatever happens to it (killed,
segmentation fault, endless loop) is one `TableError` here. Codes: see `TableError.code` where each is raised; those of
this module are `out_of_time`, `out_of_memory`, `reader_crashed`, `storage_full`.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..errors import TableError

_ROOT = Path(__file__).resolve().parents[3]  # the folder that holds the `workers` package
_POLL_S = 0.02


@dataclass(frozen=True, kw_only=True)
class ReadLimits:
    """What one upload may cost."""

    seconds: float = 300.0
    memory_mb: int = 4096
    max_bytes: int = 8_000_000_000  #: after decompression
    max_ratio: float = 200.0  #: decompressed to compressed bytes; the first 16 MiB are always allowed
    max_columns: int = 5_000
    max_rows: int = 10_000_000


@dataclass(frozen=True, kw_only=True)
class ReadTable:
    """What was read. Everything but the Parquet file itself, all JSON-able."""

    format: str  #: csv, parquet, arrow, jsonl, arff
    rows: int
    columns: list[dict[str, Any]]  #: see `profile.column_info`
    profile: dict[str, Any]  #: see `profile.profile_table`
    alerts: list[dict[str, Any]]  #: [{"code", "column"?, "detail", "severity"}]


def read_upload(
    source: Path,
    out_parquet: Path,
    limits: ReadLimits | None = None,
    *,
    filename: str | None = None,
    header: bool | None = None,
) -> ReadTable:
    """Read `source` in a bounded child process and write it as Parquet to `out_parquet`.

    Args:
        source: the upload as it came, perhaps compressed.
        out_parquet: where the table goes; absent afterwards if this raises. Temporary files lie beside it.
        limits: what it may cost.
        filename: what the sender called it; used only where the content leaves a doubt, never as a path.
        header: whether the first row of a delimited file holds names; None: found out.

    Raises:
        TableError: the file is no usable table, or reading it exceeded a limit.
    """
    limits = limits or ReadLimits()
    with tempfile.TemporaryDirectory(prefix="read-", dir=out_parquet.parent) as folder:
        work = Path(folder)
        request = {
            "source": str(source.absolute()),
            "out": str((work / "table.parquet").absolute()),
            "work": str(work.absolute()),
            "filename": filename,
            "header": header,
            "limits": asdict(limits),
        }
        answer = _run_child(request, work, limits)
        (work / "table.parquet").replace(out_parquet)
    return ReadTable(**answer)


def _run_child(request: Mapping[str, Any], work: Path, limits: ReadLimits) -> dict[str, Any]:
    answer_path, log_path = work / "answer.json", work / "log"
    (work / "request.json").write_text(json.dumps(request))
    with log_path.open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", f"{__package__}.child", str(work / "request.json"), str(answer_path)],
            cwd=work,
            env=_environment(work),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        try:
            _wait(process, limits)
        finally:
            _kill_group(process)
    return _read_answer(answer_path, process.returncode, log_path)


def _environment(work: Path) -> dict[str, str]:
    """Nothing of ours but what Python needs: no credential is within reach of a parser."""
    needed = ("PATH", "LD_LIBRARY_PATH", "PYTHONHOME")
    return {name: os.environ[name] for name in needed if name in os.environ} | {
        "PYTHONPATH": os.pathsep.join(filter(None, [str(_ROOT), os.environ.get("PYTHONPATH")])),
        "PYTHONDONTWRITEBYTECODE": "1",
        "LC_ALL": "C.UTF-8",
        "TMPDIR": str(work),
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "MALLOC_ARENA_MAX": "2",
    }


def _wait(process: subprocess.Popen[bytes], limits: ReadLimits) -> None:
    deadline = time.monotonic() + limits.seconds
    while process.poll() is None:
        if time.monotonic() > deadline:
            raise TableError(
                f"Reading the file took longer than {limits.seconds:g} s. Send it as Parquet, or in smaller parts.",
                "out_of_time",
            )
        if _anonymous_mb(process.pid) > limits.memory_mb:
            raise _out_of_memory()
        try:
            process.wait(_POLL_S)
        except subprocess.TimeoutExpired:
            continue


def _anonymous_mb(pid: int) -> float:
    """Memory of the process that is not backed by a file, swap included; 0 where the kernel does not say."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0.0
    return sum(int(line.split()[1]) for line in lines if line.startswith(("Anonymous:", "Swap:"))) / 1024


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    finally:
        process.wait()


def _out_of_memory() -> TableError:
    return TableError(
        "Reading the file needs more memory than allowed. Send fewer columns, shorter texts, or smaller row groups.",
        "out_of_memory",
    )


def _read_answer(path: Path, returncode: int, log: Path) -> dict[str, Any]:
    if path.exists():
        answer: dict[str, Any] = json.loads(path.read_text())
        if "error" in answer:
            raise TableError(answer["error"]["detail"], answer["error"]["code"])
        return answer
    if returncode == -signal.SIGXCPU:
        raise TableError("Reading the file took too much processor time.", "out_of_time")
    tail = log.read_bytes()[-2000:].decode("utf-8", "replace")
    if "MemoryError" in tail or "bad_alloc" in tail or "malloc of size" in tail:
        raise _out_of_memory()
    raise TableError(
        f"The file is damaged: its reader stopped (exit status {returncode}). Write it anew and send it again.",
        "reader_crashed",
    )
