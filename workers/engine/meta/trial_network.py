"""What every network of the search is: it reads trials one by one, and is asked about configurations."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

from torch import Tensor, nn

from .evidence import View


class TrialNetwork(nn.Module):
    """For a batch of tasks, which have the same number of trials; its state is its own."""

    embed: nn.Module  #: (n, SAID + slots) -> (n, embedding), of configurations

    @abstractmethod
    def blank(self, tasks: int) -> Any:
        """The state before the first trial."""

    @abstractmethod
    def remember(self, state: Any, embedded: Tensor, surprise: Tensor) -> Any:
        """The state after one more trial of each task: (tasks, embedding), (tasks, SURPRISE)."""

    @abstractmethod
    def forward(self, state: Any, view: View, embedded: Tensor) -> Any:
        """The opinion of configurations (n, embedding), of which `view` is what the evidence says."""
