"""What a strategy is: proposals out, trials in. No clock, no I/O, so that it can be replayed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from ..space import canonical
from ..types import Configuration, Proposal, Trial

if TYPE_CHECKING:
    from ..learners.base import Size
    from ..meta.metamodel import Metamodel
    from ..meta.past import Past
    from ..space import SearchSpace


SKEWED = 0.6  #: third standardised moment from which a target has a long tail
_PATIENCE = 100  # draws, beyond what is known, that found nothing new before the space counts as exhausted


@dataclass(frozen=True, kw_only=True)
class SearchContext:
    """All that a strategy may know. Its state is a function of this and of the log of asks and tells."""

    space: SearchSpace
    size: Size
    seed: int
    workers: int  #: trials in parallel
    seconds: float | None  #: the budget as asked for, not what is left
    trials: int | None
    n_folds: int
    trial_memory_mb: int | None = None  #: that one trial may use; None: no limit
    is_skewed: bool = False  #: a regression target that is nowhere negative and has a long tail
    past: Past | None = None  #: what past tasks scored; None: nothing is known
    metamodels: Mapping[str, Metamodel] = field(default_factory=dict)  #: by name, trained
    constant_loss: float = (
        1.0  #: of the best constant prediction: what losses are divided by beside those of past tasks
    )


class Strategy(Protocol):
    """Ask for the next proposal, tell what became of it. Accepts trials it never asked for."""

    def __init__(self, context: SearchContext) -> None: ...

    def ask(self) -> Proposal | None:
        """The next proposal; None when the strategy has nothing left to try."""
        ...

    def tell(self, trial: Trial) -> None:
        """Take note of a finished trial, whoever proposed it."""
        ...


class Seen:
    """Configurations that were proposed or told, so that none is proposed twice."""

    def __init__(self) -> None:
        self._texts: set[str] = set()

    def add(self, configuration: Configuration) -> bool:
        """Remember it; whether it is new."""
        size = len(self._texts)
        self._texts.add(canonical(configuration))
        return len(self._texts) > size

    def has(self, configuration: Configuration) -> bool:
        """Whether it was there."""
        return canonical(configuration) in self._texts

    def first_new(self, configurations: Iterable[Configuration]) -> Configuration | None:
        """The first that was not there, which is now; None if there is none."""
        return next((configuration for configuration in configurations if self.add(configuration)), None)

    def draw(self, draw: Callable[[], Configuration]) -> Configuration | None:
        """A new one by drawing until there is; None if the space seems exhausted."""
        return self.first_new(draw() for _ in range(_PATIENCE + len(self._texts)))
