"""The main function of a trial process: bounded by the kernel where it can be, watched by the pool for the rest."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys
import time
import traceback
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.forkserver import _forkserver
from pathlib import Path
from typing import Any

from ..catalog import LEARNERS
from ..types import Proposal, TrialStatus
from .processes import memory_mb

_PR_SET_PDEATHSIG = 1
_ARENAS_MB = 1536  # address space that libraries reserve and do not use
_FILE_MB = 2048  # of one file; also of what a learner prints


@dataclass(frozen=True, kw_only=True)
class Work:
    """What a trial process is told. Pickled by us for a process of ours; nothing pickled ever comes back."""

    prepared: Path
    folder: Path
    number: int
    proposal: Proposal
    threads: int
    seconds: float | None
    memory_mb: int
    is_refit: bool = False
    iterations: int | None = None
    smear: float | None = None
    #: the registry of the parent: a learner registered there is known here too
    learners: Mapping[str, str]


def main(work: Work, parent: int) -> None:
    """Do the work, leave `outcome.json`, exit at once: no handler of any library gets a say."""
    _bind(work, parent)
    LEARNERS.update(work.learners)
    code = 0
    try:
        _run(work)
    except BaseException:  # reported in the log beside the outcome; the exit code is what counts
        _log_traceback()
        code = 1
    os._exit(code)


def _log_traceback() -> None:
    """To the log, if the learner has left it open."""
    with suppress(OSError, ValueError):
        traceback.print_exc()
        sys.stderr.flush()


def _bind(work: Work, parent: int) -> None:
    """Die with the template, be a session of our own, take the blame when memory runs out."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
    # The template ends with the last holder of this pipe: that must be its owner alone.
    os.close(_forkserver._forkserver_alive_fd)  # type: ignore[attr-defined]
    os.setsid()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)
    Path("/proc/self/oom_score_adj").write_text("1000")
    limit = (work.memory_mb + _ARENAS_MB) * 2**20
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (_FILE_MB * 2**20, _FILE_MB * 2**20))
    log = os.open(work.folder / "log.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.chdir(work.folder)


def _run(work: Work) -> None:
    from ..bundle.runtime.texts import sharing_terms
    from .prepare import open_prepared
    from .trial import Outcome, evaluate, refit, write_outcome

    started, cpu = time.monotonic(), time.process_time()
    try:
        prepared = open_prepared(work.prepared)
        shared: dict[str, Any] = {"threads": work.threads, "seconds": work.seconds}
        with sharing_terms():
            if work.is_refit:
                known = work.iterations, work.smear
                outcome = refit(prepared, work.proposal.configuration, *known, work.folder, **shared)
            else:
                outcome = evaluate(prepared, work.proposal, work.folder, **shared)
    except MemoryError:
        outcome = Outcome(status=TrialStatus.OUT_OF_MEMORY, reason="the process could not get the memory it asked for")
    except Exception as error:  # whatever a library raises for a configuration costs this trial and no more
        _log_traceback()
        outcome = Outcome(status=TrialStatus.FAILED, reason=f"{type(error).__name__}: {error}"[:500])
    outcome.seconds = time.monotonic() - started
    outcome.cpu_seconds = time.process_time() - cpu
    outcome.memory_mb = memory_mb([os.getpid()])
    write_outcome(outcome, work.folder)
