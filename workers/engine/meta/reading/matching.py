"""A matching network (Vinyals et al., "Matching networks for one shot learning", 2016): attention over labelled rows.

With full-context embeddings: a bidirectional LSTM lets every labelled row see the others, and an LSTM with attention
over them reads the row that is asked about several times. The answer is the mean of the labels by that attention.

B targets, N rows of which the first S are labelled, D width.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from ...bundle.runtime.metric import READS
from .encoder import RowEncoder
from .network import ReadingNetwork


class MatchingNetwork(ReadingNetwork):
    """Practises on whole episodes.

    Args:
        width: D.
    """

    def __init__(self, width: int) -> None:
        super().__init__(width)
        self.encoder = RowEncoder(width)
        self.context = nn.LSTM(width + 1, width, batch_first=True, bidirectional=True)
        self.reading = nn.LSTMCell(width, 2 * width)
        self.sharp = nn.Parameter(torch.tensor(1.6))

    def forward(
        self, cells: Tensor, rows: Tensor, labelled: int, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """Of a row, what is read of it in the end, and the mean of labels that it attends to."""
        embedded = self.encoder(cells, rows)
        labels, asked = rows[:, :labelled, :1], embedded[:, labelled:]
        both, _ = self.context(torch.cat([embedded[:, :labelled], labels], dim=-1))
        known = both.unflatten(-1, (2, -1)).sum(-2) + embedded[:, :labelled]  # (B, S, D)
        batch, count, width = asked.shape
        flat = asked.reshape(-1, width)
        state = torch.zeros(len(flat), 2 * width), torch.zeros(len(flat), 2 * width)
        attention = torch.zeros(0)
        for _ in range(READS):
            hidden, cell = self.reading(flat, state)
            read = (hidden[:, :width] + flat).view(batch, count, width)
            attention = self._attention(read, known)
            heard = (attention @ known).reshape(-1, width)
            state = torch.cat([hidden[:, :width], heard], dim=-1), cell
        return read, (attention @ labels)[..., 0]

    def _attention(self, asked: Tensor, known: Tensor) -> Tensor:
        """(B, N - S, S), by cosine."""
        cosine = functional.normalize(asked, dim=-1) @ functional.normalize(known, dim=-1).transpose(1, 2)
        return torch.softmax(self.sharp.exp() * cosine, dim=-1)
