"""`python -m workers.runner PARENT`: warms up, waits on standard input to be told a job, runs it, waits for the next.

It says `ready` when it waits and `committed` when a job's end is in the database. It ends with its standard input,
when it is fenced out, and on any error that is not the engine's: that is a lost attempt, and a fresh process is best.
"""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import IO, Any
from uuid import UUID

import structlog

from app.blobs import Blobs
from app.database import Database
from app.jobs import leases
from app.jobs.leases import Fenced, Lease
from app.logging import configure_logging
from app.settings import Settings, get_settings
from workers import training
from workers.contribution import contribute
from workers.engine.errors import EngineError
from workers.engine.evaluation.pool import warm_up
from workers.engine.fit import FitResult, fit
from workers.journal import DatabaseJournal
from workers.nursery import COMMITTED, READY
from workers.problem import Problem, load_problem
from workers.recall import Recalled, recall
from workers.scratch import job_folder

log = structlog.get_logger(__name__)

_PR_SET_PDEATHSIG = 1
_FENCED = 3


def main() -> int:
    """Warm up, then run jobs; the exit code."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != int(sys.argv[1]):
        return 1
    settings = get_settings()
    configure_logging(settings)
    _die_first()
    warm_up()
    speech = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # whatever a library prints is no word of ours
    try:
        print(READY, file=speech)
        for line in sys.stdin:
            _run(settings, json.loads(line), speech)
            print(READY, file=speech)
    except Fenced as reason:
        log.warning("fenced out", reason=str(reason))
        return _FENCED
    return 0


def _die_first() -> None:
    """When the machine runs out of memory, the kernel takes a job's processes before any server's."""
    with suppress(OSError):  # a container may forbid it
        Path("/proc/self/oom_score_adj").write_text("1000")


def _run(settings: Settings, message: dict[str, Any], speech: IO[str]) -> None:
    """One job to its committed end.

    Raises:
        Fenced: somebody else has it, or it was cancelled.
    """
    assert settings.database_url is not None
    lease = Lease(job_id=UUID(message["job_id"]), epoch=message["epoch"])
    idle_s = settings.interval(settings.lease_s)
    database = Database(settings.database_url.get_secret_value(), pool_size=2, idle_s=idle_s)
    folder = job_folder(settings, lease)
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    journal = DatabaseJournal(database, Blobs(settings.blobs), settings, lease)
    with structlog.contextvars.bound_contextvars(job_id=message["job_id"], epoch=lease.epoch):
        try:
            with database.transaction() as session:
                is_training = training.is_training(session, lease.job_id)
            if is_training:
                training.train(journal, folder)
                print(COMMITTED, file=speech)
                return
            problem = load_problem(settings, journal)
            known = recall(journal, problem)
            result = _solve(problem, known, journal, message, folder)
            print(COMMITTED, file=speech)
            contribute(journal, problem, result, known)
        except EngineError as error:
            _fail(journal, error.code, str(error))
            print(COMMITTED, file=speech)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            database.dispose()


def _fail(journal: DatabaseJournal, code: str, detail: str) -> None:
    log.info("job failed", code=code, detail=detail)
    if not journal.write(lambda session: leases.fail(session, journal.lease, code=code, detail=detail)):
        raise Fenced(f"job {journal.lease.job_id} could not be failed: {code}")


def _solve(
    problem: Problem, known: Recalled, journal: DatabaseJournal, message: dict[str, Any], folder: Path
) -> FitResult:
    result = fit(
        problem.table,
        problem.y,
        problem.task,
        problem.plan,
        journal,
        folder,
        weights=problem.weights,
        groups=problem.groups,
        times=problem.times,
        used_s=message["used_s"],
        started=message["claimed"],
        past=known.past,
        metamodels=known.metamodels,
    )
    journal.finish(reproducible=result.reproducible)
    return result


if __name__ == "__main__":
    sys.exit(main())
