"""The network as a torch module. `bundle/runtime/nets.py` evaluates its weights, with the same letters for shapes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

_FREQUENCIES = 8  # K
_EMBEDDING = 8  # D


class Residual(nn.Module):
    """Pre-norm residual block of twice the width inside: (N, H) -> (N, H)."""

    def __init__(self, width: int, drop: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.first, self.second = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)
        self.drop = drop

    def forward(self, x: Tensor) -> Tensor:
        """One block."""
        inner = functional.dropout(functional.relu(self.first(self.norm(x))), self.drop, self.training)
        out: Tensor = x + self.second(inner)
        return out


class NetworkModule(nn.Module):
    """(N, C) -> (N, O) logits; O = 1 value in regression (`outputs` 0).

    Args:
        params: hyperparameters of the learner `network`.
        columns: C.
        outputs: classes, or 0.
        embed_limit: wider tables are not embedded.
    """

    def __init__(self, params: Mapping[str, Any], columns: int, outputs: int, embed_limit: int) -> None:
        super().__init__()
        width, blocks = params["width"], params["blocks"]
        self.drop, self.blocks = params["dropout"], blocks
        self.is_residual = params["form"] == "resnet"
        self.embeds = params["embed"] and columns <= embed_limit
        entry = columns * (1 + _EMBEDDING) if self.embeds else columns
        if self.embeds:
            self.frequencies = nn.Parameter(torch.randn(columns, _FREQUENCIES) * params["frequency_scale"])
            self.embed = nn.Linear(2 * _FREQUENCIES, _EMBEDDING)
        if self.is_residual:
            self.stem, self.norm = nn.Linear(entry, width), nn.LayerNorm(width)
        for block in range(blocks):
            layer = Residual(width, self.drop) if self.is_residual else nn.Linear(width if block else entry, width)
            self.add_module(f"block{block}", layer)
        self.head = nn.Linear(width, max(outputs, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Logits."""
        x = self._embedded(x) if self.embeds else x
        x = self.stem(x) if self.is_residual else x
        for block in range(self.blocks):
            x = self.get_submodule(f"block{block}")(x)
            if not self.is_residual:
                x = functional.dropout(functional.relu(x), self.drop, self.training)
        out: Tensor = self.head(functional.relu(self.norm(x)) if self.is_residual else x)
        return out

    def _embedded(self, x: Tensor) -> Tensor:
        angles = 2 * torch.pi * x[:, :, None] * self.frequencies  # (N, C, K)
        waves = torch.cat([angles.cos(), angles.sin()], dim=2)  # (N, C, 2K)
        return torch.cat([x, functional.relu(self.embed(waves)).flatten(1)], dim=1)  # (N, C + C*D)
