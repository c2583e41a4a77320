"""Where runners keep what is theirs alone, and what becomes of it when they are killed."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.jobs.leases import LEASED, Lease
from app.jobs.tables import Job
from app.settings import Settings

_NAME = re.compile(r"job-([0-9a-f-]{36})-(\d+)")


def job_folder(settings: Settings, lease: Lease) -> Path:
    """Folder of one attempt at a job."""
    return settings.scratch.absolute() / f"job-{lease.job_id}-{lease.epoch}"


def clear_scratch(session: Session, settings: Settings) -> int:
    """Remove the folders of attempts that are over: a killed worker leaves them behind. How many there were."""
    found = [(path, match) for path in settings.scratch.glob("job-*") if (match := _NAME.fullmatch(path.name))]
    ids = {UUID(match[1]) for _, match in found}
    running = select(Job.id, Job.epoch).where(Job.id.in_(ids), Job.state.in_(LEASED))
    live = {f"job-{job_id}-{epoch}" for job_id, epoch in session.execute(running)}
    stale = [path for path, _ in found if path.name not in live]
    for path in stale:
        shutil.rmtree(path, ignore_errors=True)
    return len(stale)
