"""What the engine offers, for GET /v1/space. Needs only the engine's light modules."""

from __future__ import annotations

from functools import lru_cache

from app.system.schemas import SpaceOfKind, SpaceRead
from workers.engine.catalog import DEFAULT_METRIC, LEARNERS, METRICS, STRATEGIES
from workers.engine.space import Space
from workers.engine.types import ColumnKind, TaskKind


@lru_cache(maxsize=1)
def describe_space() -> SpaceRead:
    """The catalog, and each task kind's space with its version."""
    return SpaceRead(
        learners=list(LEARNERS),
        strategies=list(STRATEGIES),
        metrics={name: sorted(kinds) for name, kinds in METRICS.items()},
        default_metrics={kind.value: metric for kind, metric in DEFAULT_METRIC.items()},
        column_kinds=[kind.value for kind in ColumnKind],
        spaces={kind.value: _space(kind) for kind in TaskKind},
    )


def _space(kind: TaskKind) -> SpaceOfKind:
    space = Space(LEARNERS, kind)
    return SpaceOfKind(version=space.version, learners=space.to_json())
