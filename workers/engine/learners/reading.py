"""Estimators that are networks with fixed weights: they keep the training rows, and read them when asked."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from ..bundle.runtime.views import NETWORK, View, pack
from ..preprocessing.derived import most_relevant
from ..preprocessing.options import encoder_space
from ..space import Int
from ..types import TaskKind
from .base import ABSOLUTE, Array, FitContext, Learner, Size
from .wrap import Wrapped

MOST_ROWS, MOST_COLUMNS = 1_000, 40  #: of a view
_MOST_VIEWS = 8
_LARGEST = 3_000  # rows of a table beyond which others are better, and sooner
_MOST_READ = 6_000  # rows of a view x classes: each class is a reading
_FOLDER = Path(__file__).parent.parent / "meta" / "reading"
#: what a network says of itself, and its tensors by name, float32
Weights = tuple[Mapping[str, Any], Mapping[str, Array]]
_FLAT = 10.0  # the column of this rank is half as likely as the first to be in a view


def reading_learner(name: str, cost: Callable[[Size], float]) -> Learner:
    """A learner of a shipped network.

    Args:
        name: of both.
        cost: of one target a view; K classes are as many, two are one.
    """

    def build(params: Mapping[str, Any], context: FitContext) -> Reading:
        return Reading(name, params, context)

    return Learner(
        name=name,
        kinds=frozenset(TaskKind),
        space=(
            Int(name="views", low=1, high=_MOST_VIEWS, default=1, log=True),
            *encoder_space(scaled=False, native_categories=False, native_missing=False, log_target=False),
        ),
        # more views of a table that one view takes whole gain less than .001 of AUC or R2, each at its full cost
        defaults=({"views": 1, "prep_category": "onehot"}, {"views": 4, "prep_category": "ordinal"}),
        build=build,
        cost=lambda params, size: (
            0.01 + _views(params, size.rows, size.columns) * (_look(size) + cost(size) * max(1, size.classes - 1))
        ),
        declines=_declines,
        revision=3,
    )


def _views(params: Mapping[str, Any], rows: int, columns: int) -> int:
    """As many as "views" says, times those that it takes to show all rows and columns."""
    needed = max(math.ceil(rows / MOST_ROWS), math.ceil(columns / MOST_COLUMNS))
    return min(_MOST_VIEWS, int(params["views"]) * needed)


def row_cost(size: Size, row_s: float, pair_s: float = 0.0) -> float:
    """Seconds of a network that embeds every cell once, then spends so many on each row and on each pair of rows."""
    rows, columns = min(size.rows, MOST_ROWS), min(size.columns, MOST_COLUMNS)
    return rows * (1.5e-6 * columns + row_s + pair_s * rows)


def _look(size: Size) -> float:
    """Seconds for the rules of an episode: kernels, and what they are broken down into."""
    rows, columns = min(size.rows, MOST_ROWS), min(size.columns, MOST_COLUMNS)
    return 0.003 + rows**2 * (5e-9 * columns + 6e-10 * rows)


def _declines(size: Size) -> str | None:
    if size.rows > _LARGEST:
        return f"it has learned to read tables of at most {_LARGEST} rows"
    if size.classes > 2 and min(size.rows, MOST_ROWS) * size.classes > _MOST_READ:
        return f"reading {size.rows} rows for each of {size.classes} classes takes too long"
    return None


class Reading(Wrapped):
    """A shipped network over views of the training rows; see `bundle/runtime/views.py`.

    No row is read twice, however heavy: its copies would betray its label to what is said without it. Chances of
    classes are multiplied by what their rows weigh in the mean; in regression heavy rows are in more of the views.

    Args:
        name: of the network, `meta/reading/NAME_1.safetensors`.
        params: "views", how often it is to see each row and each column.
        context: of the fit.
        shipped: gives what a name's weights say of themselves, and the weights.
    """

    def __init__(
        self, name: str, params: Mapping[str, Any], context: FitContext, shipped: Callable[[str], Weights] | None = None
    ) -> None:
        super().__init__(lambda classes: classes, context)
        self.name, self.params, self.shipped = name, params, shipped or _shipped

    def _fit_inner(self, X: Array, y: Array, weight: Array | None, eval_set: Any) -> None:
        from ..bundle.runtime.readers import load_reader  # scipy: who only asks for the space has no need of it

        about, weights = self.shipped(self.name)
        classes = int(self.inner_)
        rng = np.random.default_rng(self.context.seed)
        ranked = most_relevant(X, y, classes, X.shape[1])
        views = [
            View(*_drawn(rng, None if classes else weight, len(y), ranked, about))
            for _ in range(_views(self.params, *X.shape))
        ]
        self.configuration_ = {
            "form": self.name,
            "classes": classes,
            "absolute": self.context.metric in ABSOLUTE,
            "prior": _prior(y, weight) if classes else None,
            **about,
        }
        self.tensors_ = {**{NETWORK + key: value for key, value in weights.items()}, **pack(X, y, views)}
        self.inner_ = load_reader(self.configuration_, self.tensors_)

    def _raw(self, X: Array) -> Any:
        return self.inner_(np.asarray(X, dtype=np.float32))

    def _model(self) -> tuple[str, Any, dict[str, Any]]:
        return "reader", (self.configuration_, self.tensors_), {}


def _prior(y: Array, weight: Array | None) -> list[float] | None:
    """Mean weight of the rows of each class, by the mean of all; None where nothing weighs."""
    if weight is None:
        return None
    return list(map(float, np.bincount(y, weight) / np.bincount(y) / np.mean(weight)))


@cache
def _shipped(name: str) -> Weights:
    from safetensors import safe_open

    with safe_open(_FOLDER / f"{name}_1.safetensors", framework="numpy") as file:
        tensors = {key: file.get_tensor(key).astype(np.float32) for key in file.keys()}  # noqa: SIM118
        return json.loads(file.metadata()["about"]), tensors


def _drawn(
    rng: np.random.Generator, weight: Array | None, count: int, ranked: Array, about: Mapping[str, Any]
) -> tuple[Any, Any, Any]:
    """Some of `count` rows and of the columns in a random order, heavy rows and relevant columns likelier; noise.

    `about` may say of the network that it wants "noise" random numbers for every "group" of columns.
    """
    share, telling = None, count
    if weight is not None:  # as many rows of one weight tell as much
        share = weight / weight.sum()
        telling = min(math.ceil(1 / (share**2).sum()), int((share > 0).sum()))
    rows = rng.choice(count, min(telling, MOST_ROWS), replace=False, p=share)
    columns = rng.permutation(len(ranked))
    if len(columns) > MOST_COLUMNS:
        chances = 1 / (_FLAT + np.arange(len(columns)))
        columns = rng.choice(ranked, MOST_COLUMNS, replace=False, p=chances / chances.sum())
    group = about.get("group", len(columns))
    noise = rng.standard_normal((math.ceil(len(columns) / group), about.get("noise", 0)), dtype=np.float32)
    return rows, columns, noise
