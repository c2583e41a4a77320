"""A Siamese network of rows (Bromley et al. 1993; Koch et al. 2015): near in its embedding is what has the same target.

Twins embed a labelled row and another; practice is on pairs, alike or not (contrastive, Hadsell et al. 2006, as a
logistic loss). It predicts by similarity: the mean of the labels, near rows first. How much nearer counts how much
more, and how sure to be, is learned from predictions, which teach the embedding nothing.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from .encoder import RowEncoder
from .network import Batch, ReadingNetwork

_ALIKE = 0.5  # deviations: values so far apart are half as alike as the same value


class SiameseNetwork(ReadingNetwork):
    """Similarity of two rows is a logistic function of their squared distance.

    Args:
        width: D.
    """

    def __init__(self, width: int) -> None:
        super().__init__(width)
        self.encoder = RowEncoder(width)
        self.scale, self.margin = nn.Parameter(torch.zeros(())), nn.Parameter(torch.zeros(()))
        self.sharp = nn.Parameter(torch.zeros(()))

    def forward(
        self, cells: Tensor, rows: Tensor, labelled: int, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """Of a row, its embedding and the mean of labels weighted by similarity."""
        return self._answer(self.encoder(cells, rows), rows, labelled)

    def loss(self, batch: Batch, generator: torch.Generator) -> Tensor:
        """Mean cross-entropy of pairs of a labelled row and another, alike or not, and that of answers."""
        rows = batch.rows.flatten(0, 1)
        embedded = self.encoder(batch.cells.flatten(0, 1), rows)
        apart = self.scale.exp() * _squares(embedded, batch.labelled)
        if batch.classes:
            classes = torch.arange(batch.classes) if batch.classes > 2 else torch.tensor([1])
            asked = (batch.wanted[:, None] == classes[:, None]).flatten(0, 1)  # (B, N - S)
            known = rows[:, : batch.labelled, 0] > 0
            alike = (asked[:, :, None] == known[:, None]).float()
        else:
            gap = batch.wanted[:, :, None] - rows[:, None, : batch.labelled, 0]
            alike = torch.exp(-((gap / _ALIKE) ** 2) * 0.6931)
        pairs = functional.binary_cross_entropy_with_logits(self.margin - apart, alike)
        return pairs + self.answer_loss(*self._answer(embedded.detach(), rows, batch.labelled), batch)

    def _answer(self, embedded: Tensor, rows: Tensor, labelled: int) -> tuple[Tensor, Tensor]:
        near = torch.softmax(-self.sharp.exp() * _squares(embedded, labelled), dim=2)
        return embedded[:, labelled:], (near @ rows[:, :labelled, :1])[..., 0]


def _squares(embedded: Tensor, labelled: int) -> Tensor:
    """(B, N - S, S) squared distances."""
    return torch.cdist(embedded[:, labelled:], embedded[:, :labelled]) ** 2
