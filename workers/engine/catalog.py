"""What the engine offers, by name. Pure Python, imports nothing heavy: the API validates specs with it.

Adding a learner is one file in `learners/` and one line in LEARNERS; a strategy or a metamodel likewise.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from .bundle.runtime.installed import installed
from .errors import SpaceError
from .types import TaskKind

if TYPE_CHECKING:
    from .learners.base import Learner
    from .meta.metamodel import Metamodel
    from .search.base import Strategy

#: learner name -> "module:attribute" of its `Learner`, relative to `learners/`; "/package.module:…" is absolute.
LEARNERS: Final[dict[str, str]] = {
    "dummy": "dummy:LEARNER",
    "linear": "linear:LEARNER",
    "elastic_net": "linear:ELASTIC_NET",
    "nearest_neighbours": "neighbours:LEARNER",
    "naive_bayes": "naive_bayes:LEARNER",
    "discriminant": "discriminant:LEARNER",
    "svm": "svm:LEARNER",
    "random_forest": "forests:RANDOM_FOREST",
    "extra_trees": "forests:EXTRA_TREES",
    "lightgbm": "lightgbm:LEARNER",
    "catboost": "catboost:LEARNER",
    "network": "network:LEARNER",
    "siamese": "metric:SIAMESE",
    "matching": "metric:MATCHING",
    "in_context": "in_context:LEARNER",
    "rnn": "recurrent:RNN",
    "mann": "recurrent:MANN",
    "lstm_learner": "adapting:LSTM_LEARNER",
    "maml": "adapting:MAML",
    "reptile": "adapting:REPTILE",
}

#: Learners that have learned to learn: networks with fixed weights. Seed knowledge does not tell of them yet.
READERS: Final = ("siamese", "matching", "in_context", "rnn", "mann", "lstm_learner", "maml", "reptile")

#: Official foundation models that the operator has installed: learners like any other, and no knowledge ships of them.
FOUNDATION: Final = installed()
LEARNERS.update({package: f"foundation:{package.upper()}" for package in FOUNDATION})

#: strategy name -> "module:class", relative to `search/`.
STRATEGIES: Final[dict[str, str]] = {
    "auto": "auto:Auto",
    "random": "random:RandomSearch",
    "halving": "halving:AsynchronousHalving",
    "hyperband": "halving:Hyperband",
    "gaussian_process": "bayesian:BayesianOptimisation",
    "forest": "bayesian:ForestOptimisation",
    "evolution": "evolution:Evolution",
    "portfolio": "portfolio:Portfolio",
    "transfer": "transfer:Transfer",
    "rnn": "learned:RnnSearch",
    "mann": "learned:MannSearch",
    "lstm_optimiser": "learned:LstmSearch",
    "composite": "composite:Composite",
}

#: metamodel name -> "module:class", relative to `meta/`. Their modules import torch.
METAMODELS: Final[dict[str, str]] = {
    "rnn": "rnn:Rnn",
    "mann": "mann:Mann",
    "lstm_optimiser": "lstm_optimiser:LstmOptimiser",
}

#: what a metamodel that places tasks among others is for; a job's neighbours are its champion's
EMBEDDING_ROLE: Final = "embedding"


def leading_role(metamodel: str, kind: TaskKind) -> str:
    """What a metamodel that leads searches is for: it learns on one sort of target."""
    return f"{metamodel}-{kind.sort}"


#: metric name -> the kinds of task it applies to. `evaluation/metrics.py` computes them.
METRICS: Final[dict[str, frozenset[TaskKind]]] = {
    **dict.fromkeys(
        (
            "accuracy",
            "balanced_accuracy",
            "precision",
            "recall",
            "f1",
            "log_loss",
            "mcc",
            "roc_auc",
            "average_precision",
        ),
        frozenset({TaskKind.BINARY, TaskKind.MULTICLASS}),
    ),
    **dict.fromkeys(("rmse", "mae", "mape", "r2", "rmsle"), frozenset({TaskKind.REGRESSION})),
}

DEFAULT_METRIC: Final[dict[TaskKind, str]] = {
    TaskKind.BINARY: "roc_auc",
    TaskKind.MULTICLASS: "log_loss",
    TaskKind.REGRESSION: "rmse",
}


def get_learner(name: str) -> Learner:
    """The learner of this name.

    Raises:
        SpaceError: no such learner.
    """
    return _load("learners", LEARNERS, name)  # type: ignore[no-any-return]


def get_strategy(name: str) -> type[Strategy]:
    """The strategy class of this name.

    Raises:
        SpaceError: no such strategy.
    """
    return _load("search", STRATEGIES, name)  # type: ignore[no-any-return]


def get_needs(strategy: str) -> tuple[str, ...]:
    """The metamodels that a strategy wants.

    Raises:
        SpaceError: no such strategy.
    """
    return tuple(getattr(get_strategy(strategy), "needs", ()))


def get_metamodel(name: str) -> type[Metamodel]:
    """The metamodel class of this name.

    Raises:
        SpaceError: no such metamodel.
    """
    return _load("meta", METAMODELS, name)  # type: ignore[no-any-return]


def _load(folder: str, registry: dict[str, str], name: str) -> Any:
    if name not in registry:
        raise SpaceError(f"Unknown {folder} name {name!r}; known: {', '.join(registry)}.")
    module, attribute = registry[name].split(":")
    place = module.removeprefix("/") if module.startswith("/") else f".{folder}.{module}"
    return getattr(import_module(place, __package__), attribute)


def infer_task_kind(kind: str, distinct: int, rows: int, is_integer: bool) -> TaskKind:
    """What a target column asks for when the spec does not say.

    Two values are binary; numbers are regression unless they are at most ten integers seen often; the rest is classes.
    """
    if distinct == 2:
        return TaskKind.BINARY
    if kind == "number" and not (is_integer and distinct <= 10 and rows >= 20 * distinct):
        return TaskKind.REGRESSION
    return TaskKind.MULTICLASS
