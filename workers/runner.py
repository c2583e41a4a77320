"""`python -m workers.runner PARENT`: one job. Warms up, waits on standard input to be told which, runs it, and ends.

Exit codes: 0 the job's end is committed; 3 fenced out; anything else is a lost attempt.
"""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import signal
import sys
from typing import Any
from uuid import UUID

import structlog

from app.blobs import Blobs
from app.database import Database
from app.jobs import leases
from app.jobs.journal import publish_model
from app.jobs.leases import Fenced, Lease
from app.logging import configure_logging
from app.settings import Settings, get_settings
from workers.contribution import contribute
from workers.engine.errors import EngineError
from workers.engine.evaluation.pool import warm_up
from workers.engine.fit import fit
from workers.journal import DatabaseJournal
from workers.nursery import READY
from workers.problem import load_problem

log = structlog.get_logger(__name__)

_PR_SET_PDEATHSIG = 1
_FENCED = 3


def main() -> int:
    """Warm up, wait, run."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != int(sys.argv[1]):
        return 1
    settings = get_settings()
    configure_logging(settings)
    warm_up()
    with os.fdopen(os.dup(1), "wb") as ready:
        ready.write(READY)
    os.dup2(2, 1)
    line = sys.stdin.readline()
    return run(settings, json.loads(line)) if line else 0


def run(settings: Settings, message: dict[str, Any]) -> int:
    """One job; the exit code."""
    assert settings.database_url is not None
    lease = Lease(job_id=UUID(message["job_id"]), epoch=message["epoch"])
    structlog.contextvars.bind_contextvars(job_id=message["job_id"], epoch=lease.epoch)
    database = Database(settings.database_url.get_secret_value(), pool_size=2)
    folder = settings.scratch / f"job-{lease.job_id}-{lease.epoch}"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    journal = DatabaseJournal(database, Blobs(settings.blobs), settings, lease)
    try:
        _solve(settings, journal, message)
    except Fenced as reason:
        log.warning("fenced out", reason=str(reason))
        return _FENCED
    except EngineError as error:
        code, detail = error.code, str(error)
        log.info("job failed", code=code, detail=detail)
        journal.write(lambda session: leases.fail(session, lease, code=code, detail=detail))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return 0


def _solve(settings: Settings, journal: DatabaseJournal, message: dict[str, Any]) -> None:
    problem = load_problem(settings, journal)
    result = fit(
        problem.table,
        problem.y,
        problem.task,
        problem.plan,
        journal,
        settings.scratch / f"job-{journal.lease.job_id}-{journal.lease.epoch}",
        weights=problem.weights,
        groups=problem.groups,
        times=problem.times,
        used_s=message["used_s"],
        started=message["claimed"],
    )
    final = journal.final
    assert final is not None

    def commit(session: Any) -> None:
        publish_model(session, journal.lease, final)
        leases.finish(session, journal.lease, reproducible=result.reproducible)

    journal.write(commit)
    contribute(journal, problem, result)


if __name__ == "__main__":
    sys.exit(main())
