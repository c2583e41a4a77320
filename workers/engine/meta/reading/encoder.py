"""Rows of any number of columns as vectors of one length: what is told of every cell, through one network, then pooled.

In the line of Deep Sets (Zaheer et al. 2017). A column counts as much as a score of its cells says: those of relevant
columns say so of themselves (`bundle/runtime/episode.py`).

B targets, N rows, C columns, D width.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from ...bundle.runtime.episode import CELL, RULES, SAID, TABLE

INPUTS = RULES + TABLE  #: numbers of a row besides its cells: all but its label


class RowEncoder(nn.Module):
    """A twin: labelled rows and others pass through the same weights, and labels through none."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.cell, self.column = nn.Linear(CELL, width), nn.Linear(width, width + 1)
        self.row, self.out = nn.Linear(width + INPUTS, 2 * width), nn.Linear(2 * width, width)

    def forward(self, cells: Tensor, rows: Tensor) -> Tensor:
        """(B, N, D) of (B, N, C, CELL) and (B, N, ROW)."""
        said = self.column(functional.gelu(self.cell(cells)))  # (B, N, C, D + 1)
        pooled = (torch.softmax(said[..., -1:], dim=2) * said[..., :-1]).sum(dim=2)
        both = torch.cat([pooled, rows[..., SAID], rows[..., -TABLE:]], dim=-1)
        out: Tensor = self.out(functional.gelu(self.row(both)))
        return out
