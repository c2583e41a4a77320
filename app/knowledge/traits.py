"""Why two tasks are near each other, in words that people know."""

from __future__ import annotations

from collections.abc import Mapping

from workers.engine.meta.set_encoder import is_set_number

_MOST = 5


def shared_traits(mine: Mapping[str, float], others: Mapping[str, float]) -> list[str]:
    """Names of the metafeatures that are most alike, among those that mean something and are not zero in both."""
    named = [name for name in mine if name in others and not is_set_number(name)]
    both = [name for name in named if mine[name] or others[name]]
    apart = {name: abs(mine[name] - others[name]) / (abs(mine[name]) + abs(others[name])) for name in both}
    return sorted(both, key=lambda name: (apart[name], name))[:_MOST]
