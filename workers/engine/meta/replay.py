"""Which tasks nothing ever trains on, so that metamodels can be judged on them."""

from __future__ import annotations

import hashlib

_ONE_IN = 5


def is_replay(group: str) -> bool:
    """One group in five, by a stable hash."""
    return int.from_bytes(hashlib.sha256(group.encode()).digest()[:8]) % _ONE_IN == 0
