"""A memory-augmented network as surrogate of the search."""

from __future__ import annotations

from functools import cached_property

from torch import Tensor

from .past import OFFSET
from .recollection import Recollection, Slots
from .surrogates import NetworkSurrogate


class Mann(NetworkSurrogate):
    """A recurrent controller beside an external memory that holds past tasks and is read by likeness to this one.

    In the line of Graves et al., "Neural Turing Machines" (2014) and Santoro et al., "Meta-learning with
    memory-augmented neural networks" (2016): content addressing, reading heads of several sharpnesses.
    """

    name = "mann"
    steps = 200
    state = 32

    def start(self, tasks: int, own: Tensor | None = None) -> Recollection:
        """Whatever a task is made of is struck from its memory."""
        return Recollection.start(self.factors, self._slots, tasks, own)

    @cached_property
    def _slots(self) -> Slots:
        return Slots.of(self.logs, OFFSET)
