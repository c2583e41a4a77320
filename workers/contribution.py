"""What a finished job leaves to knowledge: its task and its evaluations, no rows and no names of columns."""

from __future__ import annotations

from dataclasses import replace

import structlog
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.jobs.tables import Job
from app.knowledge.repository import TaskDescription, find_champion, list_sketches, record_job
from app.projects.tables import Project
from workers.description import describe
from workers.engine.catalog import EMBEDDING_ROLE
from workers.engine.fit import FitResult
from workers.engine.meta.evaluations import evaluation_of
from workers.engine.meta.sketch import find_alike
from workers.engine.space import Space
from workers.journal import DatabaseJournal
from workers.placing import place_missing
from workers.problem import Problem
from workers.recall import Recalled

log = structlog.get_logger(__name__)

_COMPARED = 20_000  # tasks whose rows are compared with a finished job's, at most
_PLACED = 2_000  # tasks that a finished job places at most: its own, and what an import or a rollback has left


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
            project = select(Project.shares_knowledge).where(Project.id == job.project_id)
            shares = session.execute(project.with_for_update(read=True)).scalar_one()  # nobody changes it meanwhile
            is_shared = shares and problem.contribute == "shared"
            task = _in_its_group(session, job, task)
            record_job(session, job, task, evaluations, is_shared=is_shared)
        with journal.database.transaction() as session:
            if (champion := find_champion(session, EMBEDDING_ROLE)) is not None:  # of now, not of when the job began
                place_missing(session, journal.blobs, champion, _PLACED)
    except Exception:  # whatever an odd table does to a statistic, the job is done
        log.exception("nothing was contributed to knowledge")


def _in_its_group(session: Session, job: Job, task: TaskDescription) -> TaskDescription:
    """With the group of a task on the same rows or a sample of them, so that none of them proves what others taught."""
    if task.sketch is None:
        return task
    known = list_sketches(session, job.project_id, _COMPARED)
    place = find_alike(task.sketch, [sketch for _, sketch in known])
    return task if place is None else replace(task, group=known[place][0])
