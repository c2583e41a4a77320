"""What a finished job leaves to knowledge: its task and its evaluations, no rows and no names of columns."""

from __future__ import annotations

import structlog
from sqlalchemy import select

from app.jobs.tables import Job
from app.knowledge.repository import find_champion, keep_embedding, record_job
from app.projects.tables import Project
from workers.description import describe
from workers.engine.fit import FitResult
from workers.engine.meta.evaluations import evaluation_of
from workers.engine.space import Space
from workers.journal import DatabaseJournal
from workers.problem import Problem
from workers.recall import Recalled, embed

log = structlog.get_logger(__name__)


def contribute(journal: DatabaseJournal, problem: Problem, result: FitResult, known: Recalled) -> None:
    """Write it in one transaction. The job has its result already: a failure here is logged and costs no model."""
    if problem.contribute == "none":
        return
    try:
        task = known.description or describe(problem)
        space = Space(problem.plan.algorithms, problem.task.kind)
        evaluations = [evaluation_of(trial, space, problem.task.metric) for trial in result.trials]
        with journal.database.transaction() as session:
            job = session.execute(select(Job).where(Job.id == journal.lease.job_id)).scalar_one()
            shares = session.execute(select(Project.shares_knowledge).where(Project.id == job.project_id)).scalar_one()
            is_shared = shares and problem.contribute == "shared"
            task_id = record_job(session, job, task, evaluations, is_shared=is_shared)
            if (champion := find_champion(session, "embedding")) is not None:  # of now, not of when the job began
                keep_embedding(session, task_id, champion.id, embed(journal.blobs, champion, task))
    except Exception:  # whatever an odd table does to a statistic, the job is done
        log.exception("nothing was contributed to knowledge")
