"""`python -m workers`: a worker, until SIGTERM. Running jobs are then given back, and another worker goes on."""

from __future__ import annotations

import os
import socket
import sys
from typing import Any
from uuid import uuid4

from celery import signals

from app.database import Database
from app.logging import configure_logging
from app.settings import get_settings
from workers.celery_app import make_app
from workers.nursery import Nursery
from workers.presence import Presence
from workers.supervisor import Supervisor
from workers.tasks import register


def main() -> int:
    """Run the worker."""
    settings = get_settings()
    configure_logging(settings)
    if settings.database_url is None:
        sys.stderr.write("The worker needs WARMSTART_DATABASE_URL.\n")
        return 2
    name = f"{socket.gethostname()}:{os.getpid()}:{uuid4().hex[:8]}"
    database = Database(
        settings.database_url.get_secret_value(),
        pool_size=2 + settings.worker_slots,
        idle_s=settings.interval(settings.lease_s),
    )
    nursery = Nursery(settings.worker_slots)
    supervisor = Supervisor(settings, database, nursery, name)
    presence = Presence(settings, database, supervisor, name)
    app = make_app(settings)
    register(app, supervisor)

    def ready(**_: Any) -> None:
        presence.start()

    def stop(**_: Any) -> None:
        supervisor.stopping.set()

    signals.worker_ready.connect(ready, weak=False)
    signals.worker_shutting_down.connect(stop, weak=False)
    nursery.open()
    try:
        app.worker_main(["worker", "--loglevel", settings.log_level, "--without-gossip", "--without-mingle"])
    finally:
        nursery.close()
        presence.leave()
    return 0


if __name__ == "__main__":
    sys.exit(main())
