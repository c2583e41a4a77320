"""The engine's words: what a task, a proposal and a trial are. Light: the service imports this module too."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

#: One point of the space: flat, JSON-able. `"learner"` names the learner; every other key is a hyperparameter.
Configuration = Mapping[str, Any]


class TaskKind(StrEnum):
    """What the target is."""

    BINARY = "binary"
    MULTICLASS = "multiclass"
    REGRESSION = "regression"

    @property
    def is_classification(self) -> bool:
        """Whether the target is a class."""
        return self is not TaskKind.REGRESSION

    @property
    def sort(self) -> str:
        """Classification or regression."""
        return "classification" if self.is_classification else "regression"

    @property
    def alike(self) -> tuple[TaskKind, ...]:
        """Kinds on which the same is likely to work."""
        return tuple(kind for kind in TaskKind if kind.is_classification == self.is_classification)


class ColumnKind(StrEnum):
    """What a column holds; decides how it is encoded."""

    NUMBER = "number"
    CATEGORY = "category"
    BOOLEAN = "boolean"
    DATETIME = "datetime"
    TEXT = "text"
    ID = "id"  # unique per row or nearly so: carries no signal, never a feature unless overridden
    CONSTANT = "constant"  # one value (or none): never a feature


class Scheme(StrEnum):
    """How rows are split into training and validation parts."""

    AUTO = "auto"  # k-fold, repeated on small tables, a holdout on large ones
    HOLDOUT = "holdout"
    KFOLD = "kfold"  # stratified for classification
    REPEATED = "repeated"  # k-fold, several times with other shuffles
    GROUP = "group"  # rows of one group never stand on both sides
    TIME = "time"  # validation rows are always later than training rows


@dataclass(frozen=True, kw_only=True)
class Validation:
    """The `validation` part of a job spec."""

    scheme: Scheme = Scheme.AUTO
    folds: int | None = None  #: None: chosen from the number of rows
    group_column: str | None = None
    time_column: str | None = None
    holdout: float = 0.0  #: fraction of rows that neither fitting nor selection sees, scored once at the end


@dataclass(frozen=True, kw_only=True)
class Budget:
    """How much a job may use. At least one of the first two is set."""

    seconds: float | None = 300.0  #: from the first claim to the committed model
    trials: int | None = None  #: with seconds None the run is reproducible
    trial_seconds: float | None = None  #: one trial at most; None: derived from `seconds`
    trial_memory_mb: int = 4096  #: private memory of one trial's processes at most


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What the model may cost whoever uses it. None: no limit."""

    predict_ms_per_row: float | None = None  #: milliseconds a row in batches of 1,000 on one core, encoding included
    megabytes: float | None = None  #: of its files before they are compressed


@dataclass(frozen=True, kw_only=True)
class Task:
    """A dataset with a question: everything that decides what a good model is, nothing about how long to look."""

    target: str
    kind: TaskKind
    metric: str
    classes: tuple[str, ...] = ()  #: sorted labels as text; binary: (negative, positive)
    validation: Validation = field(default_factory=Validation)
    weights_column: str | None = None
    class_weight: Mapping[str, float] | str | None = None  #: "balanced", or weight by label
    seed: int = 0


@dataclass(frozen=True, kw_only=True, order=True)
class Fidelity:
    """How much of the full evaluation a trial does. `Fidelity()` is all of it."""

    rows: float = 1.0  #: fraction of each fold's training rows, in (0, 1]
    folds: int | None = None  #: only the first so many folds; None: all

    @property
    def is_full(self) -> bool:
        """Whether this is the whole evaluation."""
        return self.rows >= 1.0 and self.folds is None


class Source(StrEnum):
    """Who made a proposal."""

    DEFAULT = "default"  # a hand-written default configuration
    RANDOM = "random"
    HALVING = "halving"  # a promotion to a higher fidelity
    COLD = "cold"
    PORTFOLIO = "portfolio"
    NEIGHBOUR = "neighbour"
    SURROGATE = "surrogate"
    OPTIMISER = "optimiser"
    REPLAY = "replay"  # a trial of a parent job


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """A configuration to try, at a fidelity, and where it came from."""

    configuration: Configuration
    fidelity: Fidelity = Fidelity()
    source: Source = Source.RANDOM


class TrialStatus(StrEnum):
    """How a trial ended."""

    SUCCEEDED = "succeeded"
    STOPPED = "stopped"  # ended early on purpose, with the folds it did
    FAILED = "failed"
    TIMED_OUT = "timed_out"
    OUT_OF_MEMORY = "out_of_memory"
    CRASHED = "crashed"  # a signal or an abrupt exit

    @property
    def has_score(self) -> bool:
        """Whether predictions and scores exist."""
        return self in (TrialStatus.SUCCEEDED, TrialStatus.STOPPED)


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One proposal evaluated. What `tell` gets, what a row keeps."""

    number: int  #: 0, 1, 2, … in order of asking
    proposal: Proposal
    status: TrialStatus
    loss: float | None = None  #: of the task's metric, lower is better; None without a score
    fold_losses: tuple[float, ...] = ()
    metrics: Mapping[str, float] = field(default_factory=dict)  #: every metric of the task's kind, in its usual sense
    seconds: float = 0.0  #: wall time in the trial process
    cpu_seconds: float = 0.0
    memory_mb: float = 0.0  #: peak private memory
    reason: str | None = None  #: why there is no score, for a human
    predict_ms_per_row: float = 0.0  #: of its first fold's model, in a batch of 1,000 on one core, encoding included
    megabytes: float = 0.0  #: of its first fold's model
    best_iterations: tuple[int, ...] = ()  #: per fold, of learners that stop early
    smears: tuple[float, ...] = ()  #: per fold, of a logarithmic target: the mean by what logarithms say
    timed: bool = False  #: a clock, and not the configuration, decided where it stopped


@dataclass(frozen=True, kw_only=True)
class Score:
    """An honest score with its 95 % interval, in the metric's usual sense."""

    metric: str
    value: float
    low: float
    high: float
    method: str  #: "bbc-cv", or "holdout"
    rows: int  #: rows it was measured on
