"""The Celery application of a worker: early acknowledgement, one message a free slot, nothing else of Celery's.

Threads, because a task only supervises: the work is in process groups of its own (docs/decisions/0004-worker-pool.md).
"""

from __future__ import annotations

from typing import Any

from celery import Celery, bootsteps

from app.broker import TRANSPORT_OPTIONS, make_celery
from app.settings import Settings

#: A thread that ends its task wakes nobody: without this, the loop finds the free slot up to a second later.
_LOOK_S = 0.05


class _LookForFreeSlots(bootsteps.StartStopStep):  # type: ignore[misc]
    """Keeps the consumer's loop turning, so that it asks for the next message soon after a slot is free."""

    requires = ("celery.worker.consumer.tasks:Tasks",)

    def __init__(self, consumer: Any, **options: Any) -> None:
        super().__init__(consumer, **options)
        self._entry: Any = None

    def start(self, consumer: Any) -> None:
        """At every start of the consumer: after a lost connection it starts anew."""
        self._entry = consumer.timer.call_repeatedly(_LOOK_S, _do_nothing)

    def stop(self, consumer: Any) -> None:
        """With the consumer."""
        if self._entry is not None:
            self._entry.cancel()
            self._entry = None


def _do_nothing() -> None:
    """The turn of the loop is what counts."""


def make_app(settings: Settings) -> Celery:
    """The application with these settings.

    Raises:
        ValueError: no broker is configured.
    """
    if settings.broker_url is None:
        raise ValueError("The worker needs WARMSTART_BROKER_URL.")
    app = make_celery(settings.broker_url.get_secret_value())
    app.conf.update(
        task_acks_late=False,
        task_store_errors_even_if_ignored=False,
        worker_prefetch_multiplier=1,
        worker_disable_prefetch=True,
        worker_pool="threads",
        worker_concurrency=settings.worker_slots,
        worker_hijack_root_logger=False,
        worker_send_task_events=False,
        worker_enable_remote_control=False,
        worker_cancel_long_running_tasks_on_connection_loss=False,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_transport_options=dict(TRANSPORT_OPTIONS),
    )
    app.steps["consumer"].add(_LookForFreeSlots)
    return app
