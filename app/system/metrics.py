"""What /metrics shows of this process. Counts from the database are added when it is scraped."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, PlatformCollector, ProcessCollector

REGISTRY = CollectorRegistry()
ProcessCollector(registry=REGISTRY)
PlatformCollector(registry=REGISTRY)

_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)

REQUEST_SECONDS = Histogram(
    "warmstart_request_seconds", "Time to answer.", ["method", "route"], buckets=_BUCKETS, registry=REGISTRY
)
REQUESTS = Counter("warmstart_requests", "Requests answered.", ["method", "route", "status"], registry=REGISTRY)
JOBS = Gauge("warmstart_jobs", "Jobs by state.", ["state"], registry=REGISTRY)
QUEUE_AGE = Gauge("warmstart_queue_oldest_seconds", "Age of the oldest queued job.", registry=REGISTRY)
WORKERS = Gauge("warmstart_workers", "Workers seen in the last minute.", registry=REGISTRY)
SLOTS = Gauge("warmstart_worker_slots", "Slots of those workers.", registry=REGISTRY)
EVENTS = Gauge("warmstart_job_events", "Job events stored.", registry=REGISTRY)
DATABASE_UP = Gauge("warmstart_database_up", "Whether the last scrape reached the database.", registry=REGISTRY)
WAITERS = Gauge("warmstart_waiters", "Long polls and event streams open in this process.", registry=REGISTRY)


def observe_request(method: str, route: str, status: int, seconds: float) -> None:
    """Count one answered request. `route` is the template, so that ids make no series."""
    REQUEST_SECONDS.labels(method, route).observe(seconds)
    REQUESTS.labels(method, route, str(status)).inc()
