"""k nearest neighbours on scaled columns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..preprocessing.options import encoder_space
from ..space import Choice, Int
from ..types import TaskKind
from .base import FitContext, Learner, Size
from .wrap import Wrapped

_MOST_ROWS = 30_000


def _build(params: Mapping[str, Any], context: FitContext) -> Wrapped:
    from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor

    def make(n_classes: int) -> Any:
        kind = KNeighborsClassifier if n_classes else KNeighborsRegressor
        return kind(
            n_neighbors=min(params["n_neighbors"], context.n_rows),
            weights=params["weights"],
            p=params["p"],
            algorithm="brute",  # a bundle may hold arrays, not trees of compiled code
            n_jobs=1,
        )

    return Wrapped(make, context, weighted=False)


def _declines(size: Size) -> str | None:
    return f"more than {_MOST_ROWS} rows make it slow to predict" if size.rows > _MOST_ROWS else None


LEARNER = Learner(
    name="nearest_neighbours",
    kinds=frozenset(TaskKind),
    space=(
        Int(name="n_neighbors", low=1, high=100, default=15, log=True),
        Choice(name="weights", options=("distance", "uniform"), default="distance"),
        Choice(name="p", options=(1, 2), default=2),
        # on its own training rows it is right, so that nothing says by how much logarithms are too low
        *encoder_space(scaled=True, native_categories=False, native_missing=False, log_target=False),
    ),
    defaults=({"n_neighbors": 15, "prep_category": "target"}, {"n_neighbors": 5, "p": 1, "prep_columns": "relevant"}),
    build=_build,
    # the price is paid when it predicts: one fold of validation rows against the rest
    cost=lambda params, size: 0.005 + 1.2e-10 * size.rows**2 * ((size.columns if params["p"] == 1 else 5) + 10) / 2,
    declines=_declines,
)
