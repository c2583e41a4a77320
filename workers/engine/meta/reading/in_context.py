"""A transformer that has learned to learn from tables: labelled rows in, predictions of other rows out, no fitting.

Every cell attends to the cells of its row, then to those of its column, as do the labels (Hollmann et al., "Accurate
predictions on small data with a tabular foundation model", 2025; attention along two axes, Ho et al. 2019). Neither the
order of rows nor that of columns means anything to it. Cells and labels come with what simple statistics and rules in
closed form say of them (`bundle/runtime/episode.py`): without, hours of practice go into discovering correlation.

B targets, N rows of which the first S are labelled, C columns, T = C / GROUP tokens of columns and one of the label, D
width.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ...bundle.runtime.episode import CELL, ROW, RULES, SAID
from .network import ReadingNetwork

GROUP = 2  #: columns of a token
PLACES = 16  #: random numbers that tell a token from the others


class Attention(nn.Module):
    """(B, N, D) asks (B, M, D)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width, bias=False)
        self.memory = nn.Linear(width, 2 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        """(B, N, D)."""
        batch, rows, width = x.shape
        query = self.query(x).view(batch, rows, self.heads, -1).transpose(1, 2)
        keys, values = self.memory(context).view(batch, context.shape[1], 2, self.heads, -1).permute(2, 0, 3, 1, 4)
        heard = functional.scaled_dot_product_attention(query, keys, values)
        out: Tensor = self.out(heard.transpose(1, 2).reshape(batch, rows, width))
        return out


class Block(nn.Module):
    """Along rows, along columns, then a layer of its own for every cell."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.along_row, self.along_column = Attention(width, heads), Attention(width, heads)
        self.first, self.second, self.third = (nn.LayerNorm(width) for _ in range(3))
        self.wide, self.narrow = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)

    def forward(self, x: Tensor, labelled: int, *, is_last: bool) -> Tensor:
        """(B, N, T + 1, D) to the same; rows without a label are heard by none. The last one answers for labels only.

        Of the last (B, N, 1, D).
        """
        batch, rows, tokens, width = x.shape
        normed = self.first(x).reshape(batch * rows, tokens, width)
        if is_last:
            x, tokens = x[:, :, -1:], 1
        x = x + self.along_row(normed[:, -tokens:], normed).view(batch, rows, tokens, width)
        normed = self.second(x).transpose(1, 2).reshape(batch * tokens, rows, width)
        heard = self.along_column(normed, normed[:, :labelled])
        x = x + heard.view(batch, tokens, rows, width).transpose(1, 2)
        out: Tensor = x + self.narrow(functional.gelu(self.wide(self.third(x))))
        return out


class InContextNetwork(ReadingNetwork):
    """What it says is at first the mean of what the rules say, and practice bends it.

    Args:
        width: D, a multiple of `heads`.
        heads: of each attention.
        blocks: one above another.
    """

    def __init__(self, width: int, heads: int, blocks: int) -> None:
        super().__init__(width)
        self.heads = heads
        self.cell, self.place = nn.Linear(GROUP * (CELL + 1), width), nn.Linear(PLACES, width)
        self.row = nn.Linear(ROW, width)
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(blocks))
        self.norm = nn.LayerNorm(width)
        self.trust = nn.Linear(width, RULES + 1)
        nn.init.zeros_(self.trust.weight)
        nn.init.zeros_(self.trust.bias)
        nn.init.constant_(self.trust.bias[:RULES], 1 / RULES)

    def about(self) -> dict[str, Any]:
        """Heads, and the random numbers that it wants: so many for every group of columns."""
        return {"heads": self.heads, "group": GROUP, "noise": PLACES}

    def forward(
        self, cells: Tensor, rows: Tensor, labelled: int, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """The generator is of what tells tokens apart."""
        x = torch.cat([self._cells(cells, generator), self.row(rows)[:, :, None]], dim=2)
        for place, block in enumerate(self.blocks):
            x = block(x, labelled, is_last=place + 1 == len(self.blocks))
        asked = self.norm(x[:, labelled:, -1])
        trust = self.trust(asked)
        mean = (trust[..., :RULES] * rows[:, labelled:, SAID]).sum(-1) + trust[..., RULES]
        return asked, mean

    def _cells(self, cells: Tensor, generator: torch.Generator | None) -> Tensor:
        """(B, N, T, D)."""
        batch, rows, columns, _ = cells.shape
        tokens = math.ceil(columns / GROUP)
        there = functional.pad(cells, (0, 1), value=1.0)
        padded = functional.pad(there, (0, 0, 0, tokens * GROUP - columns))
        places = self.place(torch.randn(tokens, PLACES, generator=generator))
        out: Tensor = self.cell(padded.view(batch, rows, tokens, -1)) + places
        return out
