"""Idempotency-Key: the same key and body get the same answer for a day.

A POST with a key runs in one transaction that holds an advisory lock named after (project, route, key). The answer is
remembered in that same transaction, so the effect and its record commit together or not at all, and a crash frees
the lock with the connection: nothing can be left in flight.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ForeignKey, LargeBinary, func, text
from sqlalchemy.orm import Mapped, Session, mapped_column
from starlette.responses import Response

from app.database import Base
from app.errors import IdempotencyInFlight, IdempotencyMismatch, InvalidRequest

WAIT_S = 10.0  #: how long a second request waits for the first
POLL_S = 0.05  #: between looks at the lock
_BODY_MAX = 5_000_000  #: longer answers (of predictions, which change nothing) are made again instead of remembered
_KEY = re.compile(r'"?([\x21\x23-\x7e]{1,200})"?')


class IdempotencyKey(Base):
    """One remembered POST."""

    __tablename__ = "idempotency_keys"

    project_id: Mapped[UUID] = mapped_column(ForeignKey("projects.id", ondelete="CASCADE"), primary_key=True)
    route: Mapped[str] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    fingerprint: Mapped[str]  #: SHA-256 of the body
    status: Mapped[int]
    headers: Mapped[dict[str, Any]] = mapped_column(default=dict)
    body: Mapped[bytes | None] = mapped_column(LargeBinary)  #: NULL: too long to keep
    created_at: Mapped[datetime] = mapped_column(server_default=func.now(), index=True)


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """A POST under a key."""

    project_id: UUID
    route: str
    key: str
    fingerprint: str


def read_key(header: str | None) -> str | None:
    """The key of an Idempotency-Key header, quoted or not; None without one.

    Raises:
        InvalidRequest: not 1 to 200 printable characters.
    """
    if header is None:
        return None
    if (match := _KEY.fullmatch(header.strip())) is None:
        detail = "Send 1 to 200 printable ASCII characters without spaces."
        raise InvalidRequest(f"Idempotency-Key: {detail}", errors=[{"parameter": "Idempotency-Key", "detail": detail}])
    return match[1]


def try_lock(session: Session, attempt: Attempt) -> bool:
    """Take the attempt's lock until the transaction ends; False: another request holds it."""
    name = f"{attempt.project_id}\n{attempt.route}\n{attempt.key}".encode()
    number = int.from_bytes(hashlib.sha256(name).digest()[:8], signed=True)
    return bool(session.scalar(text("SELECT pg_try_advisory_xact_lock(:id)"), {"id": number}))


def begin(session: Session, attempt: Attempt) -> Response | None:
    """Lock the attempt in this transaction, waiting for another that holds it; the remembered answer if there is one.

    With None the caller does its work and calls `remember` in the same transaction.

    Raises:
        IdempotencyInFlight: the other did not end within `WAIT_S`.
        IdempotencyMismatch: the key was used with another body.
    """
    deadline = time.monotonic() + WAIT_S
    while not try_lock(session, attempt):
        if time.monotonic() > deadline:
            raise IdempotencyInFlight(headers={"Retry-After": "5"})
        time.sleep(POLL_S)
    return find_answer(session, attempt)


def find_answer(session: Session, attempt: Attempt) -> Response | None:
    """The remembered answer, marked `Idempotency-Replayed: true`; None: there is none (any more).

    Raises:
        IdempotencyMismatch: the key was used with another body.
    """
    row = session.get(IdempotencyKey, (attempt.project_id, attempt.route, attempt.key))
    if row is None:
        return None
    if row.fingerprint != attempt.fingerprint:
        raise IdempotencyMismatch()
    if row.body is None:
        session.delete(row)
        session.flush()
        return None
    response = Response(row.body, status_code=row.status)
    response.headers.update({**row.headers, "Idempotency-Replayed": "true"})
    return response


def remember(session: Session, attempt: Attempt, status: int, headers: Mapping[str, str], body: bytes) -> None:
    """Keep an answer, in the transaction of its effect."""
    kept = {name: value for name, value in headers.items() if name.lower() not in ("content-length", "x-request-id")}
    session.add(
        IdempotencyKey(**attempt.__dict__, status=status, headers=kept, body=body if len(body) <= _BODY_MAX else None)
    )
