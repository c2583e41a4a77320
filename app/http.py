"""Pieces of HTTP that several nouns need: entity tags, preferences, digests."""

from __future__ import annotations

import base64
import hashlib
import re
from typing import Any

from starlette.convertors import StringConvertor, register_url_convertor

#: What a route declares of its answers.
Responses = dict[int | str, dict[str, Any]]

_WAIT = re.compile(r"(?:^|[,;\s])wait\s*=\s*\"?(\d{1,6})\"?", re.IGNORECASE)


class _IdConvertor(StringConvertor):
    regex = "[^/:]+"


#: `{job_id:id}` in a path: without it, `/jobs/{job_id}` would match `/jobs/…:cancel` too.
register_url_convertor("id", _IdConvertor())


def make_etag(*parts: object) -> str:
    """A strong entity tag of values that change with the representation."""
    return '"' + "-".join(str(part) for part in parts) + '"'


def digest_etag(body: bytes) -> str:
    """A strong entity tag of the representation's bytes."""
    return make_etag(hashlib.sha256(body).hexdigest()[:32])


def is_match(header: str | None, etag: str) -> bool:
    """Whether an If-None-Match or If-Match header names this tag, by weak comparison (RFC 9110, 8.8.3.2)."""
    if header is None:
        return False
    tags = [tag.strip().removeprefix("W/") for tag in header.split(",")]
    return "*" in tags or etag.removeprefix("W/") in tags


def read_wait(prefer: str | None, longest: float) -> float:
    """Seconds of `Prefer: wait=n` (RFC 7240), capped; 0 without one."""
    match = _WAIT.search(prefer or "")
    return min(float(match[1]), longest) if match else 0.0


def format_digest(sha256_hex: str) -> str:
    """A SHA-256 as Content-Digest and Repr-Digest write it (RFC 9530)."""
    return f"sha-256=:{base64.b64encode(bytes.fromhex(sha256_hex)).decode()}:"
