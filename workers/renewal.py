"""The heartbeat of a lease, in a thread of its own, so that a database that hangs never holds up the supervisor."""

from __future__ import annotations

import threading
import time
from typing import Any

import psycopg
import structlog
from sqlalchemy.exc import SQLAlchemyError

from app.database import Database
from app.jobs import leases
from app.jobs.leases import Claim
from app.settings import Settings

log = structlog.get_logger(__name__)

DATABASE_ERRORS = (psycopg.Error, SQLAlchemyError)


class Renewal(threading.Thread):
    """Renews until stopped or fenced out. Its attributes are for reading.

    Args:
        settings: of the service.
        database: sessions.
        claim: the lease.
        claimed: `time.monotonic()` before the claim was made.
    """

    def __init__(self, settings: Settings, database: Database, claim: Claim, claimed: float) -> None:
        super().__init__(name=f"lease-{claim.job_id}", daemon=True)
        self._database, self._claim = database, claim
        self._lease_s = settings.interval(settings.lease_s)
        self._every_s = settings.interval(settings.heartbeat_s)
        self._stopped = threading.Event()
        self.renewed = claimed  #: monotonic time before the last renewal that worked
        self.budget: dict[str, Any] = claim.budget
        self.is_cancelled = False
        self.is_fenced = False

    def run(self) -> None:
        """Beat."""
        while not (self._stopped.wait(self._every_s) or self.is_fenced):
            before = time.monotonic()
            try:
                with self._database.transaction() as session:
                    beat = leases.heartbeat(session, self._claim, lease_s=self._lease_s)
            except DATABASE_ERRORS as error:
                log.warning("no heartbeat", job_id=str(self._claim.job_id), error=str(error).splitlines()[0])
                continue
            if beat is None:
                self.is_fenced = True
                continue
            self.budget, self.is_cancelled, self.renewed = beat.budget, beat.cancel_requested, before

    def stop(self) -> None:
        """Beat no more; does not wait for a heartbeat that hangs."""
        self._stopped.set()
