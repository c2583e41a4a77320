"""Which tasks teach whom: on some nothing ever trains, so that metamodels can be judged on them."""

from __future__ import annotations

import hashlib

_ONE_IN = 5


def is_replay(group: str) -> bool:
    """One group in five, by a stable hash."""
    return int.from_bytes(hashlib.sha256(group.encode()).digest()[:8]) % _ONE_IN == 0


def teaches_learners(group: str) -> bool:
    """Half of the other groups: learners that have learned to learn practise there, so knowledge tells nothing of them.

    Knowledge about these learners comes from the groups that are neither this nor replay.
    """
    return not is_replay(f"corpus {group}") and hashlib.sha256(f"learners {group}".encode()).digest()[0] % 2 == 0
