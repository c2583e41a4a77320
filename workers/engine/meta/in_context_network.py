"""A transformer that has learned to learn from tables: labelled rows in, predictions of other rows out, no fitting.

Every cell attends to the cells of its row, then to those of its column, as do the labels (Hollmann et al., "Accurate
predictions on small data with a tabular foundation model", 2025; attention along two axes, Ho et al. 2019). Neither the
order of rows nor that of columns means anything to it.

B tasks, N rows of which the first S are labelled, C columns, T = C / GROUP tokens of columns and one of the label, D
width.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

CLASSES = 10  #: at most
BUCKETS = 64  #: of a standard normal target, all as likely
GROUP = 2  #: columns of a token
_CLIP = 6.0  # deviations
PLACES = 16  #: random numbers that tell a token from the others
_LEAST = 1e-5


class Attention(nn.Module):
    """(B, N, D) asks (B, M, D)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width, bias=False)
        self.memory = nn.Linear(width, 2 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)
        nn.init.zeros_(self.out.weight)

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
        nn.init.zeros_(self.narrow.weight)
        nn.init.zeros_(self.narrow.bias)

    def forward(self, x: Tensor, labelled: int) -> Tensor:
        """(B, N, T + 1, D) to the same; rows without a label are heard by none."""
        batch, rows, tokens, width = x.shape
        flat = self.first(x).reshape(batch * rows, tokens, width)
        x = x + self.along_row(flat, flat).view(batch, rows, tokens, width)
        flat = self.second(x).transpose(1, 2).reshape(batch * tokens, rows, width)
        heard = self.along_column(flat, flat[:, :labelled])
        x = x + heard.view(batch, tokens, rows, width).transpose(1, 2)
        out: Tensor = x + self.narrow(functional.gelu(self.wide(self.third(x))))
        return out


class InContextNetwork(nn.Module):
    """Both sorts of target, with a head each.

    Args:
        width: D, a multiple of `heads`.
        heads: of each attention.
        blocks: one above another.
    """

    edges: Tensor
    centres: Tensor

    def __init__(self, width: int, heads: int, blocks: int) -> None:
        super().__init__()
        self.cell, self.place = nn.Linear(2 * GROUP, width), nn.Linear(PLACES, width)
        self.label, self.value = nn.Embedding(CLASSES, width), nn.Linear(1, width)
        self.unknown = nn.Parameter(0.02 * torch.randn(width))
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(blocks))
        self.norm = nn.LayerNorm(width)
        self.classes, self.buckets = nn.Linear(width, CLASSES), nn.Linear(width, BUCKETS)
        self.register_buffer("edges", torch.special.ndtri(torch.arange(1, BUCKETS) / BUCKETS), persistent=False)
        self.register_buffer("centres", torch.special.ndtri((torch.arange(BUCKETS) + 0.5) / BUCKETS), persistent=False)

    def forward(self, X: Tensor, y: Tensor, classes: int, generator: torch.Generator | None = None) -> Tensor:
        """(B, N - S, classes or BUCKETS) logits.

        Args:
            X: (B, N, C).
            y: (B, S) labels, or values with mean 0 and deviation 1, of the first S rows.
            classes: 2 to CLASSES; 0: regression.
            generator: of what tells tokens apart.
        """
        x = torch.cat([self._cells(X, y.shape[1], generator), self._labels(y, X.shape[1], classes)[:, :, None]], dim=2)
        for block in self.blocks:
            x = block(x, y.shape[1])
        asked = self.norm(x[:, y.shape[1] :, -1])
        out: Tensor = self.classes(asked)[..., :classes] if classes else self.buckets(asked)
        return out

    def loss(self, X: Tensor, y: Tensor, labelled: int, classes: int, generator: torch.Generator) -> Tensor:
        """Mean cross-entropy of the rows after the first `labelled`; y (B, N)."""
        logits = self(X, y[:, :labelled], classes, generator)
        wanted = y[:, labelled:]
        if not classes:
            wanted = torch.bucketize(wanted.contiguous(), self.edges)
        return functional.cross_entropy(logits.flatten(0, 1), wanted.flatten())

    def _cells(self, X: Tensor, labelled: int, generator: torch.Generator | None) -> Tensor:
        """(B, N, T, D) of columns standardised on the labelled rows."""
        batch, rows, columns = X.shape
        tokens = math.ceil(columns / GROUP)
        known = X[:, :labelled]
        mean, deviation = known.mean(1, keepdim=True), known.std(1, keepdim=True, correction=0)
        X = ((X - mean) / deviation.clamp(min=_LEAST)).clamp(-_CLIP, _CLIP) * (deviation > _LEAST)
        rest = tokens * GROUP - columns
        cells = functional.pad(X, (0, rest)).view(batch, rows, tokens, GROUP)
        there = functional.pad(torch.ones(columns), (0, rest)).view(tokens, GROUP).expand_as(cells)
        places = self.place(torch.randn(tokens, PLACES, generator=generator))
        out: Tensor = self.cell(torch.cat([cells, there], dim=-1)) + places
        return out

    def _labels(self, y: Tensor, rows: int, classes: int) -> Tensor:
        """(B, N, D)."""
        known = self.label(y) if classes else self.value(y.clamp(-_CLIP, _CLIP)[:, :, None])
        return torch.cat([known, self.unknown.expand(len(y), rows - y.shape[1], -1)], dim=1)
