"""Garbage: what no row names goes once it is old, everything else stays."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import text

from app.blobs import Blobs
from app.database import Database
from app.garbage import TEMPORARY_AGE_S, collect_garbage
from app.idempotency import IdempotencyKey
from app.jobs.tables import Worker
from app.settings import Settings


@pytest.fixture
def blobs(settings: Settings) -> Blobs:
    """The service's blobs."""
    return Blobs(settings.blobs)


@pytest.fixture
def put(blobs: Blobs) -> Callable[..., str]:
    """Stores an object and its folders as if written so many seconds ago."""

    def store(key: str, age_s: float = 0.0) -> str:
        blobs.put_stream(key, iter([b"x"]))
        then = time.time() - age_s
        path = blobs.path(key)
        while path != blobs.root:
            os.utime(path, (then, then))
            path = path.parent
        return key

    return store


def test_only_the_named_bundle_and_the_trials_stay_when_bundles_are_old(
    settings: Settings,
    database: Database,
    blobs: Blobs,
    put: Callable[..., str],
    submit: Callable[..., dict[str, Any]],
    add_model: Callable[..., Any],
) -> None:
    job = submit()["id"]
    kept = [put(f"jobs/{job}/2/model-1.zip", 9999), put(f"jobs/{job}/trials/0-1.zip", 9999)]
    old = [put(f"jobs/{job}/1/model-0.zip", 9999), put(f"jobs/{job}/2/model-0.zip", 9999)]
    young = put(f"jobs/{job}/2/model-2.zip")
    add_model(job, blob_key=kept[0])
    collect_garbage(database, blobs, settings)
    assert all(blobs.path(key).exists() for key in [*kept, young])
    assert not any(blobs.path(key).exists() for key in old)


def test_a_jobs_folder_goes_when_its_row_is_gone_and_it_is_old(
    settings: Settings, database: Database, blobs: Blobs, put: Callable[..., str]
) -> None:
    old, young = put(f"jobs/{uuid4()}/trials/0-1.zip", 9999), put(f"jobs/{uuid4()}/trials/0-1.zip")
    collect_garbage(database, blobs, settings)
    assert not blobs.path(old).parent.parent.exists()
    assert blobs.path(young).exists()


def test_interrupted_writes_forgotten_answers_and_dead_workers_go_when_they_are_old(
    settings: Settings, database: Database, blobs: Blobs, tenant: Any
) -> None:
    stale, fresh = blobs.root / ".one.tmp", blobs.root / ".two.tmp"
    for path, age_s in ((stale, TEMPORARY_AGE_S + 60), (fresh, 60.0)):
        path.write_bytes(b"x")
        os.utime(path, (time.time() - age_s,) * 2)
    with database.transaction() as session:
        for name in ("old", "new"):
            session.add(Worker(id=name, slots=1, version="0"))
            session.add(
                IdempotencyKey(
                    project_id=tenant.project_id, route="/", key=name, fingerprint="x", status=202, body=b"{}"
                )
            )
        session.flush()
        session.execute(text("UPDATE workers SET seen_at = now() - interval '1 day' WHERE id = 'old'"))
        session.execute(text("UPDATE idempotency_keys SET created_at = now() - interval '2 days' WHERE key = 'old'"))
    collect_garbage(database, blobs, settings)
    assert (stale.exists(), fresh.exists()) == (False, True)
    with database.transaction() as session:
        assert [worker.id for worker in session.query(Worker)] == ["new"]
        assert [key.key for key in session.query(IdempotencyKey)] == ["new"]
