"""The Celery side of sending: messages that carry a job's id, and how many of them wait."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from uuid import UUID

from amqp.exceptions import AMQPError
from celery import Celery
from kombu.connection import Connection
from kombu.entity import Exchange, Queue
from kombu.exceptions import KombuError
from redis.exceptions import RedisError

from app.jobs.queue import QUEUE, TASK

#: No command waits for ever: kombu's own default does.
TRANSPORT_OPTIONS: dict[str, Any] = {
    "socket_timeout": 10,
    "socket_connect_timeout": 5,
    "socket_keepalive": True,
    "health_check_interval": 25,
}


def job_queue() -> Queue:
    """The one queue, as senders and workers declare it."""
    return Queue(QUEUE, Exchange(QUEUE, type="direct"), routing_key=QUEUE)


def make_celery(broker_url: str) -> Celery:
    """A Celery application that sends and receives ids as JSON and keeps no results."""
    app = Celery("warmstart", broker=broker_url, set_as_current=False)
    app.conf.update(
        task_serializer="json",
        accept_content=["json"],
        task_ignore_result=True,
        task_queues=[job_queue()],
        task_default_queue=QUEUE,
        task_default_exchange=QUEUE,
        task_default_routing_key=QUEUE,
        broker_transport_options=dict(TRANSPORT_OPTIONS),
    )
    return app


#: Whatever a broker that is away, or comes back empty, may raise.
BROKER_ERRORS = (KombuError, AMQPError, RedisError, OSError)


class Broker:
    """A connection to the broker that is made when needed and dropped on any error."""

    def __init__(self, url: str) -> None:
        self._celery = make_celery(url)
        # One try: the dispatcher's loop is the retry, and it has leases to sweep meanwhile.
        self._celery.conf.broker_transport_options |= {"max_retries": 1, "interval_start": 0, "interval_step": 0}
        self._connection: Connection | None = None

    def length(self) -> int:
        """Messages that wait. Declares the queue, in case the broker has lost it."""
        queue = job_queue()(self._connect().default_channel)
        queue.declare()
        return int(queue.queue_declare().message_count)

    def send(self, ids: Iterable[UUID]) -> None:
        """One message for each job."""
        for job_id in ids:
            self._celery.send_task(
                TASK, args=[str(job_id)], queue=QUEUE, connection=self._connect(), retry=False, ignore_result=True
            )

    def drop(self) -> None:
        """Close the connection; the next call makes another."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.release()

    def _connect(self) -> Connection:
        if self._connection is None:
            self._connection = self._celery.connection_for_write()
        return self._connection
