"""The network of the surrogates: reads trials one by one, corrects what the evidence makes one expect."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from .evidence import SAID, SURPRISE, View
from .trial_network import TrialNetwork

_EMBEDDING = 16
_HIDDEN = 32


class Outlook(NamedTuple):
    """(tasks, configurations) each."""

    mean: Tensor  #: of the log loss
    deviation: Tensor
    log_gain: Tensor  #: logarithm of the expected decrease of the best regret so far


class Reader(TrialNetwork):
    """A gated recurrent unit (Cho et al. 2014) and a head for any configuration.

    Args:
        slots: of a configuration.
        view: an example, for its widths.
        state: width of what is remembered.
    """

    def __init__(self, slots: int, view: View, state: int) -> None:
        super().__init__()
        numbers, whole, self.ways = view.numbers.shape[2], view.whole.shape[1], view.log_gains.shape[2]
        self.embed = nn.Sequential(nn.Linear(SAID + slots, 48), nn.GELU(), nn.Linear(48, _EMBEDDING))
        self.cell = nn.GRUCell(_EMBEDDING + SURPRISE, state)
        self.of_whole = nn.Linear(state + whole, _HIDDEN + _EMBEDDING + self.ways)
        self.of_pair = nn.Linear(_EMBEDDING + numbers, _HIDDEN)
        self.of_embedded = nn.Linear(_EMBEDDING, _HIDDEN)
        self.hidden = nn.Linear(_HIDDEN, _HIDDEN)
        self.change = nn.Linear(_HIDDEN, 3)
        nn.init.zeros_(self.change.weight)
        nn.init.zeros_(self.change.bias)

    def blank(self, tasks: int) -> Tensor:
        """What is remembered before the first trial."""
        return torch.zeros(tasks, self.cell.hidden_size)

    def remember(self, state: Tensor, embedded: Tensor, surprise: Tensor) -> Tensor:
        """After one more trial of each task: (tasks, embedding), (tasks, SURPRISE)."""
        after: Tensor = self.cell(torch.cat([embedded, surprise], 1), state)
        return after

    def forward(self, state: Tensor, view: View, embedded: Tensor) -> Outlook:
        """Of configurations (n, embedding)."""
        whole = self.of_whole(torch.cat([state, view.whole], 1))[:, None]
        own, crossing, ways = whole.split([_HIDDEN, _EMBEDDING, self.ways], 2)
        pair = self.of_pair(torch.cat([embedded * crossing, view.numbers], 2))
        hidden = nn.functional.gelu(self.hidden(nn.functional.gelu(pair + own + self.of_embedded(embedded))))
        change = self.change(hidden)
        return Outlook(
            mean=view.mean + view.deviation * change[:, :, 0],
            deviation=view.deviation * change[:, :, 1].clamp(-4, 4).exp(),
            log_gain=(view.log_gains * torch.softmax(ways, 2)).sum(2) + change[:, :, 2],
        )
