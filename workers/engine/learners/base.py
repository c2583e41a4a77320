"""What a learner must say of itself. One file a family; heavy libraries are imported inside `build`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..types import TaskKind

if TYPE_CHECKING:
    from ..space import Hyperparameter

Array = NDArray[np.float64]

COLUMNS_PER_FEATURE = 2  #: encoded columns a feature, for predictions of cost before anything is encoded
TRIAL_START_S = 0.3  #: of a trial, whatever it fits

ABSOLUTE = frozenset({"mae", "mape"})  #: metrics of absolute errors: the median is asked for, not the mean
LOGARITHMIC = frozenset({"rmsle"})  #: metrics of the logarithm of the target plus one
MEANS = frozenset({"rmse", "r2"})  #: metrics of squared errors: the mean is asked for


@dataclass(frozen=True, kw_only=True)
class FitContext:
    """What `build` may know besides its hyperparameters."""

    kind: TaskKind
    n_classes: int  #: 0 in regression
    n_rows: int  #: training rows
    n_columns: int  #: encoded columns
    categorical: tuple[int, ...]  #: encoded columns that hold category codes (encoder option "native" only)
    threads: int
    seed: int
    metric: str = ""  #: of the task: learners that can minimise it itself do
    log_target: bool = False  #: regression learns the logarithm of the target plus one, which is nowhere negative
    smear: float | None = None  #: of an earlier fit of the same on fewer rows: the mean by what logarithms say
    seconds: float | None = None  #: stop by yourself by then if you can; None: never (reproducible runs)
    iterations: int | None = None  #: final refit: exactly so many rounds or epochs, no early stopping


class Estimator(Protocol):
    """The scikit-learn estimator API, as far as the engine uses it.

    X is float32 (n, columns), finite unless the learner `handles_missing`. y is int64 class indices 0..n_classes-1, or
    float64 in the target's own unit. Early-stopping estimators take `eval_set=(X, y, weights or None)` and expose
    `best_iteration_`. `predict_proba` is (n, n_classes) float64; all classes always, also those absent from the
    training rows.
    """

    def fit(self, X: Any, y: Any, sample_weight: Any = None, eval_set: Any = None) -> Any: ...
    def predict(self, X: Any) -> Any: ...


@dataclass(frozen=True, kw_only=True)
class Size:
    """The size of a task, for cost hints and applicability."""

    rows: int
    columns: int
    classes: int  #: 0 in regression


@dataclass(frozen=True, kw_only=True)
class Learner:
    """A family of models: its space, what it costs, what it can handle, how to build one."""

    name: str
    kinds: frozenset[TaskKind]
    space: tuple[Hyperparameter, ...]
    #: good hand-written configurations, best first, without "learner"; the first is the default
    defaults: tuple[Mapping[str, Any], ...]
    build: Callable[[Mapping[str, Any], FitContext], Estimator]
    #: predicted seconds to fit once, one thread, for (hyperparameters, size)
    cost: Callable[[Mapping[str, Any], Size], float]
    #: None if it applies, else the reason why not
    declines: Callable[[Size], str | None] = field(default=lambda size: None)
    #: raised when the same configuration comes to mean another model: what is known of the old one is stale
    revision: int = 1
    handles_missing: bool = False
    stops_early: bool = False
    #: the average of its fold models is better than one fitted on all rows, so that it is not refitted
    keeps_folds: bool = False
