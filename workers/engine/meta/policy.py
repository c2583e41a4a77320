"""The network that proposes: a long short-term memory whose output is a point among configurations."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .evidence import SAID, SURPRISE, View
from .trial_network import TrialNetwork

_EMBEDDING = 16
_POINT = 32
_STATE = 64
_GREED = 0.7  # weight of the logarithm of expected improvement, to begin with

State = tuple[Tensor, Tensor]


class Policy(TrialNetwork):
    """Preferences among configurations: how near each is to the point, and what is expected of it.

    Args:
        slots: of a configuration.
        view: an example, for its widths.
    """

    def __init__(self, slots: int, view: View) -> None:
        super().__init__()
        self.embed = nn.Sequential(nn.Linear(SAID + slots, 64), nn.GELU(), nn.Linear(64, _EMBEDDING + _POINT))
        self.cell = nn.LSTMCell(_EMBEDDING + SURPRISE, _STATE)
        self.point = nn.Linear(_STATE + view.whole.shape[1], _POINT)
        self.weights = nn.Linear(_STATE + view.whole.shape[1], view.numbers.shape[2])
        nn.init.zeros_(self.weights.weight)
        nn.init.zeros_(self.weights.bias)

    def blank(self, tasks: int) -> State:
        """What is remembered before the first trial."""
        return torch.zeros(tasks, _STATE), torch.zeros(tasks, _STATE)

    def remember(self, state: State, embedded: Tensor, surprise: Tensor) -> State:
        """After one more trial of each task: (tasks, embedding), (tasks, SURPRISE)."""
        hidden, cell = self.cell(torch.cat([embedded[:, :_EMBEDDING], surprise], 1), state)
        return hidden, cell

    def forward(self, state: State, view: View, embedded: Tensor) -> Tensor:
        """(tasks, n) logits, of configurations (n, embedding)."""
        whole = torch.cat([state[0], view.whole], 1)
        near = self.point(whole) @ embedded[:, _EMBEDDING:].T / 2
        expected = (view.numbers * self.weights(whole)[:, None]).sum(2)
        logits: Tensor = near + expected + _GREED * view.log_gains[:, :, 0]
        return logits
