"""What a finished job leaves to knowledge: its task and its evaluations, no rows and no names of columns."""

from __future__ import annotations

import hashlib
import json

import structlog
from sqlalchemy import select

from app.jobs.tables import Job
from app.knowledge.repository import TaskDescription, record_job
from workers.engine.fit import FitResult
from workers.engine.meta.evaluations import evaluation_of
from workers.engine.meta.metafeatures import metafeatures
from workers.engine.meta.sketch import sketch
from workers.engine.space import Space
from workers.journal import DatabaseJournal
from workers.problem import Problem

log = structlog.get_logger(__name__)


def contribute(journal: DatabaseJournal, problem: Problem, result: FitResult) -> None:
    """Write it in one transaction. The job has its result already: a failure here is logged and costs no model."""
    try:
        task = _describe(problem)
        space = Space(problem.plan.algorithms, problem.task.kind)
        evaluations = [evaluation_of(trial, space, problem.task.metric) for trial in result.trials]
        with journal.database.transaction() as session:
            job = session.execute(select(Job).where(Job.id == journal.lease.job_id)).scalar_one()
            record_job(session, job, task, evaluations)
    except Exception:  # whatever an odd table does to a statistic, the job is done
        log.exception("nothing was contributed to knowledge")


def _describe(problem: Problem) -> TaskDescription:
    task, table = problem.task, problem.table
    parts = [problem.dataset_sha256, task.kind, problem.target_place, task.metric, str(task.validation)]
    return TaskDescription(
        fingerprint=hashlib.sha256(json.dumps(parts).encode()).hexdigest(),
        group=problem.dataset_sha256,
        kind=task.kind,
        metafeatures=metafeatures(table.columns, table.schema, problem.y, task.kind),
        sketch=sketch(table.columns, table.schema, problem.y, task.classes),
    )
