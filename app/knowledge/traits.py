"""Why two tasks are near each other, in words that people know."""

from __future__ import annotations

import re
from collections.abc import Mapping

_MOST = 5
_OF_ENCODER = re.compile(r"set\d+_")  # numbers without a meaning of their own


def shared_traits(mine: Mapping[str, float], others: Mapping[str, float]) -> list[str]:
    """Names of the metafeatures that are most alike, among those that are not zero in both."""
    both = [name for name in mine if name in others and (mine[name] or others[name]) and not _OF_ENCODER.match(name)]
    apart = {name: abs(mine[name] - others[name]) / (abs(mine[name]) + abs(others[name])) for name in both}
    return sorted(both, key=lambda name: (apart[name], name))[:_MOST]
