"""A recurrent learner (Hochreiter et al., "Learning to learn using gradient descent", 2001): learning is its state.

An LSTM with fixed weights reads the labelled rows with their labels one after the other; what it has learned lies in
its state alone. Every other row is one more step from there, without a label.

B targets, N rows of which the first S are labelled, D width, H units.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .encoder import RowEncoder
from .network import ReadingNetwork


class RnnNetwork(ReadingNetwork):
    """Practises on whole episodes, backpropagation through all their rows.

    Args:
        width: D.
        units: H.
    """

    def __init__(self, width: int, units: int) -> None:
        super().__init__(units)
        self.encoder = RowEncoder(width)
        self.memory = nn.LSTM(width + 2, units, batch_first=True)
        self.mean = nn.Linear(units, 1)

    def forward(
        self, cells: Tensor, rows: Tensor, labelled: int, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """Of a row, the state that it leads to, and the mean that this says."""
        inputs = torch.cat([self.encoder(cells, rows), rows[..., :2]], dim=-1)  # a row's label and whether it is known
        _, (hidden, cell) = self.memory(inputs[:, :labelled])  # (1, B, H)
        asked = inputs[:, labelled:]
        batch, count, _ = asked.shape
        state = tuple(part.repeat_interleave(count, dim=1).contiguous() for part in (hidden, cell))
        out, _ = self.memory(asked.reshape(batch * count, 1, -1), state)
        read = out.view(batch, count, -1)
        return read, self.mean(read)[..., 0]
