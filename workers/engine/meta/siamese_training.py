"""Training of the Siamese network: the distance of two tasks is to follow how differently configurations rank on them.

The loss is one less the correlation, for every task, of its distances to all others with one less the rank correlation
of losses. Only who is near matters, so that no scale of distances is asked for. Tasks are few: whole metafeatures drop
out, weights decay, and several small networks vote.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .recorded import RecordedTask
from .siamese import HIDDEN, MEMBERS, NUMBERS, Array

_MOST_TASKS = 2_000  # the latest: pairs are their square
_BATCH = 256  # tasks of a step
_FEWEST = 5  # configurations that both tasks tried, for their ranks to be compared
_WORST = 1.5  # relative loss of what failed, and at most
_DROPPED = 0.3  # share of metafeatures, of a task in a step
_LEARNING_RATE, _DECAY = 5e-3, 1e-3


def train_members(inputs: Array, tasks: Sequence[RecordedTask], seed: int, steps: int) -> dict[str, Array]:
    """Weights of all members, from standardised metafeatures (tasks, F)."""
    inputs, tasks = inputs[-_MOST_TASKS:], tasks[-_MOST_TASKS:]
    target = rank_differences(tasks)
    generator = torch.Generator().manual_seed(seed)
    members = [_train(inputs, target, generator, steps) for _ in range(MEMBERS)]
    return {name: np.stack([member[name] for member in members]) for name in ("inner", "bias", "outer")}


def rank_differences(tasks: Sequence[RecordedTask]) -> Array:
    """(tasks, tasks) one less the rank correlation of losses, 0..2; NaN: other sorts, or too little in common."""
    ranks = _ranks(tasks)
    known = (~np.isnan(ranks)).astype(np.float64)
    ranks = np.nan_to_num(ranks)
    count, total, squares = known @ known.T, ranks @ known.T, ranks**2 @ known.T
    several = np.maximum(count, 1)
    spread = np.maximum(squares - total**2 / several, 1e-9)
    correlation = (ranks @ ranks.T - total * total.T / several) / np.sqrt(spread * spread.T)
    is_classes = np.array([task.kind.is_classification for task in tasks])
    pairs = (count >= _FEWEST) & (is_classes[:, None] == is_classes[None]) & ~np.eye(len(tasks), dtype=bool)
    return np.where(pairs, 1.0 - correlation, np.nan)


def _ranks(tasks: Sequence[RecordedTask]) -> Array:
    """(tasks, configurations) middle ranks of losses, NaN where not tried."""
    keys = {key: place for place, key in enumerate(sorted({key for task in tasks for key in task.losses}))}
    ranks = np.full((len(tasks), len(keys)), np.nan)
    for row, task in enumerate(tasks):
        losses = np.minimum(np.nan_to_num(list(task.losses.values()), nan=_WORST), _WORST)
        _, inverse, counts = np.unique(losses, return_inverse=True, return_counts=True)
        ranks[row, [keys[key] for key in task.losses]] = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    return ranks


def _train(inputs: Array, target: Array, generator: torch.Generator, steps: int) -> dict[str, Array]:
    """One network, scaled so that its mean distance is 1 / √MEMBERS: no member shouts."""
    x, wanted = torch.from_numpy(inputs.astype(np.float32)), torch.from_numpy(np.nan_to_num(target).astype(np.float32))
    compared = torch.from_numpy(~np.isnan(target))
    width = x.shape[1]
    inner = torch.randn(width, HIDDEN, generator=generator) * (2 / width) ** 0.5
    bias = torch.zeros(HIDDEN)
    outer = torch.randn(HIDDEN, NUMBERS, generator=generator) / HIDDEN**0.5
    weights = [tensor.requires_grad_() for tensor in (inner, bias, outer)]
    optimiser = torch.optim.Adam(weights, _LEARNING_RATE)
    for _ in range(steps):
        batch = torch.randperm(len(x), generator=generator)[:_BATCH]
        kept = (torch.rand(len(batch), width, generator=generator) > _DROPPED) / (1 - _DROPPED)
        distances = _distances(torch.relu((x[batch] * kept) @ inner + bias) @ outer)
        loss = unlike(distances, wanted[batch][:, batch], compared[batch][:, batch])
        loss = loss + _DECAY * torch.stack([tensor.square().sum() for tensor in weights]).sum()
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    with torch.no_grad():
        mean = float(_distances(torch.relu(x @ inner + bias) @ outer).mean())
    arrays: list[NDArray[np.float64]] = [tensor.detach().numpy().astype(np.float64) for tensor in weights]
    return {"inner": arrays[0], "bias": arrays[1], "outer": arrays[2] / (max(mean, 1e-6) * MEMBERS**0.5)}


def unlike(distances: Tensor, wanted: Tensor, compared: Tensor) -> Tensor:
    """One less the mean over tasks of the correlation of their row (tasks,) of distances with what was wanted."""
    mask = compared.float()
    count = mask.sum(1, keepdim=True).clamp(min=1)
    one, other = ((values - (values * mask).sum(1, keepdim=True) / count) * mask for values in (distances, wanted))
    spread = (one.square().sum(1) * other.square().sum(1) + 1e-9).sqrt()
    return 1 - ((one * other).sum(1) / spread).mean()


def _distances(points: Tensor) -> Tensor:
    """(tasks, tasks); the square root's slope stays finite at 0."""
    return ((points[:, None] - points[None]).square().sum(-1) + 1e-6).sqrt()
