"""What networks that read labelled rows have in common: what they are told, how they answer, what practice minimises.

M targets a task, B = tasks x M of them, N rows of which the first S are labelled, C columns, K classes, D width.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ...bundle.runtime.reading import FAR, LEAST_SHARE, SOFT

BUCKETS = 64  #: of a standard normal target, all as likely
_LEAST_VARIANCE = 0.5  # of a task's values that are asked for; those with labels have 1


@dataclass(frozen=True)
class Batch:
    """Tasks of one size; see `bundle/runtime/episode.py` for what is told of them."""

    cells: Tensor  #: (tasks, M, N, C, CELL)
    rows: Tensor  #: (tasks, M, N, ROW)
    share: Tensor  #: (tasks, M) of the class among the labelled rows
    wanted: Tensor  #: (tasks, N - S) classes, or values
    labelled: int  #: S
    classes: int  #: 0: values


class ReadingNetwork(nn.Module, ABC):
    """Both sorts of target: of a mean, and of what else the network makes of a row, chances of classes or of values.

    Before practice a class has the chance that the mean says, and values are normal about it.

    Args:
        width: D.
    """

    edges: Tensor
    centres: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.bend, self.buckets = nn.Linear(width, 2), nn.Linear(width, BUCKETS)
        for layer in (self.bend, self.buckets):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)
        self.register_buffer("edges", torch.special.ndtri(torch.arange(1, BUCKETS) / BUCKETS), persistent=False)
        self.register_buffer("centres", torch.special.ndtri((torch.arange(BUCKETS) + 0.5) / BUCKETS), persistent=False)
        with torch.no_grad():  # buckets lie the denser the nearer to 0: without this a mean m would come out as m / 2
            self.buckets.bias.copy_(0.5 * self.centres**2)

    @abstractmethod
    def forward(
        self, cells: Tensor, rows: Tensor, labelled: int, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """What it makes of the rows without labels: (B, N - S, D), and the mean that it expects: (B, N - S).

        Args:
            cells: (B, N, C, CELL).
            rows: (B, N, ROW).
            labelled: S.
            generator: of random numbers, if the network wants any.
        """

    def about(self) -> dict[str, Any]:
        """What whoever reads with its weights must know."""
        return {}

    def loss(self, batch: Batch, generator: torch.Generator) -> Tensor:
        """Mean cross-entropy of what was asked; of values, the error of their mean besides."""
        asked, mean = self(batch.cells.flatten(0, 1), batch.rows.flatten(0, 1), batch.labelled, generator)
        return self.answer_loss(asked, mean, batch)

    def answer_loss(self, asked: Tensor, mean: Tensor, batch: Batch) -> Tensor:
        """The same, of what `forward` returned."""
        if batch.classes:
            asked, mean = (part.view(*batch.share.shape, *part.shape[1:]) for part in (asked, mean))
            logits = self.classes(asked, mean, batch.share)
            return functional.cross_entropy(logits.flatten(0, 1), batch.wanted.flatten())
        logits, wanted = self.values(asked, mean), torch.bucketize(batch.wanted.contiguous(), self.edges)
        likelihood = functional.cross_entropy(logits.flatten(0, 1), wanted.flatten())
        return likelihood + self._error(logits.softmax(dim=-1), batch)

    def _error(self, chances: Tensor, batch: Batch) -> Tensor:
        """Mean squared error of the values that buckets stand for, by the variance of what was asked.

        A distribution may be good but for a tail where its mean is far off, and the mean is what most metrics ask for.
        The outermost buckets stand for the labels that lie there, as `bundle/runtime/views.py` has it.

        Args:
            chances: (tasks, N - S, BUCKETS).
            batch: of values.
        """
        lower, upper = self.centres[:2].mean(), self.centres[-2:].mean()
        labels = batch.rows[:, 0, : batch.labelled, 0]
        first, last = (
            torch.where(beyond.any(dim=1), (labels * beyond).sum(dim=1) / beyond.sum(dim=1).clamp(min=1), centre)
            for beyond, centre in ((labels < lower, self.centres[0]), (labels > upper, self.centres[-1]))
        )
        inner = chances[..., 1:-1] @ self.centres[1:-1]
        said = chances[..., 0] * first[:, None] + inner + chances[..., -1] * last[:, None]
        error, size = (part.square().mean(dim=1) for part in (said - batch.wanted, batch.wanted))
        return (error / (size + _LEAST_VARIANCE)).mean()

    def values(self, asked: Tensor, mean: Tensor) -> Tensor:
        """(B, N - S, BUCKETS) logits of a target with mean 0 and deviation 1."""
        narrow = torch.exp(self.bend(asked)[..., :1])
        out: Tensor = self.buckets(asked) - 0.5 * narrow * (self.centres - mean[..., None]) ** 2
        return out

    def classes(self, asked: Tensor, mean: Tensor, share: Tensor) -> Tensor:
        """(tasks, N - S, K) logits, from M targets a task: all K classes, or of two the second.

        Args:
            asked: (tasks, M, N - S, D).
            mean: (tasks, M, N - S).
            share: (tasks, M) of the labelled rows that are of the class.
        """
        chance = share[..., None] + (share * (1 - share)).sqrt()[..., None] * mean
        soft = torch.minimum(share, 1 - share).clamp(LEAST_SHARE, SOFT)[..., None]
        sharp, shift = self.bend(asked).unbind(-1)
        if chance.shape[1] > 1:
            every: Tensor = sharp.exp() * _log_chance(chance, soft) + shift
            return every.transpose(1, 2)
        odds = _log_chance(chance, soft) - _log_chance(1 - chance, soft)
        second = (sharp.exp() * odds + shift)[:, 0]
        return torch.stack([torch.zeros_like(second), second], dim=-1)


def _log_chance(chance: Tensor, soft: Tensor) -> Tensor:
    """As `bundle/runtime/reading.py` has it."""
    x = chance / soft
    near = x.clamp(min=-FAR)
    return soft.log() + torch.where(x < -FAR, x, functional.softplus(near).log())
