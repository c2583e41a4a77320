"""What a strategy is: proposals out, trials in. No clock, no I/O, so that it can be replayed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from ..types import Proposal, Trial

if TYPE_CHECKING:
    from ..learners.base import Size
    from ..space import Space


@dataclass(frozen=True, kw_only=True)
class SearchContext:
    """All that a strategy may know. Its state is a function of this and of the log of asks and tells."""

    space: Space
    size: Size
    seed: int
    workers: int  #: trials in parallel
    seconds: float | None  #: the budget as asked for, not what is left
    trials: int | None
    n_folds: int


class Strategy(Protocol):
    """Ask for the next proposal, tell what became of it. Accepts trials it never asked for."""

    def __init__(self, context: SearchContext) -> None: ...

    def ask(self) -> Proposal | None:
        """The next proposal; None when the strategy has nothing left to try."""
        ...

    def tell(self, trial: Trial) -> None:
        """Take note of a finished trial, whoever proposed it."""
        ...
