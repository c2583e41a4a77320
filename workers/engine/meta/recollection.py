"""An external memory of past tasks, one slot each, addressed by how alike its task is to this one.

A trial is written to every slot: it moves the slot's losses by what was not foreseen (Matheron's rule, as in
`transfer.py`, one trial at a time in the factors' space) and adds to its distance. Slots are read in some sharpnesses
at once, the nearest only. New tasks are appended.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from .evidence import Factors, Filter, View

_NEAREST = 64  # slots that are read
_SHARPNESS = (1.0, 0.4)  # of the reading heads
_LEAST = 1e-7
_FAR = 1e9


class Slots(NamedTuple):
    """What past tasks scored; a last column for unheard configurations."""

    logs: Tensor  #: (slots, configurations + 1)
    regrets: Tensor  #: the same shape, 0 the best

    @classmethod
    def of(cls, logs: Tensor, offset: float) -> Slots:
        """(slots, configurations) log losses."""
        return cls(_padded(logs), _padded(to_regrets(logs, offset)))


def to_regrets(logs: Tensor, offset: float) -> Tensor:
    """0 for a task's best configuration, 1 for its worst."""
    losses = logs.exp() - offset
    low, high = losses.min(1, keepdim=True).values, losses.max(1, keepdim=True).values
    return (losses - low) / (high - low).clamp(min=1e-6)


@dataclass(frozen=True)
class Recollection:
    """The filter's evidence, and what slots say in the light of it."""

    filter: Filter
    slots: Slots
    traits: Tensor  #: (tasks, slots, RANK) by which each slot is moved
    distances: Tensor  #: (tasks, slots) of what was observed to what the slot foresaw
    best_regrets: Tensor  #: (tasks, slots) there, of the configurations tried here

    @classmethod
    def start(cls, factors: Factors, slots: Slots, tasks: int, own: Tensor | None = None) -> Recollection:
        """Before the first trial; `own` (tasks, n) are slots that a task may not read, since they hold its losses."""
        start, count = Filter.start(factors, tasks), len(slots.logs)
        distances = torch.zeros(tasks, count)
        if own is not None:
            distances.scatter_(1, own, _FAR)
        traits = torch.zeros(tasks, count, start.traits.shape[1])
        return cls(start, slots, traits, distances, torch.ones(tasks, count))

    @property
    def count(self) -> int:
        """Trials read."""
        return self.filter.count

    def read(self, places: Tensor, logs: Tensor) -> tuple[Recollection, Tensor]:
        """Write the trial to every slot."""
        tried = self.filter.factors.at(places)
        gain, spread = self.filter.gain(tried)
        foreseen = self.slots.logs.T[places] + (self.traits @ tried.loadings[:, :, None])[:, :, 0]
        surprise = torch.where(tried.known[:, None], logs[:, None] - foreseen, 0.0)
        there = torch.where(tried.known[:, None], self.slots.regrets.T[places], 1.0)
        after, numbers = self.filter.read(places, logs)
        moved = replace(
            self,
            filter=after,
            traits=self.traits + surprise[:, :, None] * gain[:, None],
            distances=self.distances + surprise**2 / spread[:, None],
            best_regrets=torch.minimum(self.best_regrets, there),
        )
        return moved, numbers

    def view(self, places: Tensor) -> View:
        """What the filter expects, and what is read at each sharpness."""
        plain = self.filter.view(places)
        distances, nearest = self.distances.topk(min(_NEAREST, self.distances.shape[1]), largest=False)
        rows = torch.arange(len(distances))[:, None]
        asked = self.filter.factors.at(places)
        best = self.filter.best[:, None, None]
        logs = self.slots.logs[nearest][:, :, places] + self.traits[rows, nearest] @ asked.loadings.T
        logs = torch.where(asked.known, logs, best)
        spread = logs.amax(2, keepdim=True) - torch.minimum(logs.amin(2, keepdim=True), best)
        gains = (best - logs).clamp(min=0) / spread.clamp(min=_LEAST)
        reductions = self.best_regrets[rows, nearest][:, :, None] - self.slots.regrets[nearest][:, :, places]
        reductions = reductions.clamp(min=0)
        log_gains, numbers, whole = [plain.log_gains], [plain.numbers], [plain.whole]
        for sharpness in _SHARPNESS:
            weights = torch.softmax(-0.5 * sharpness * distances, 1)[:, None]
            mean = (weights @ logs)[:, 0]
            deviation = (weights @ (logs - mean[:, None]) ** 2)[:, 0].clamp(min=1e-6).sqrt()
            heads = torch.stack([(weights @ each)[:, 0] for each in (gains, reductions)], 2)
            heads = torch.where(asked.known[:, None], (heads + _LEAST).log(), plain.log_gains)
            below = self.filter.best[:, None] - mean
            read = torch.stack([below, deviation.log(), mean - plain.mean, below / deviation / 4], 2)
            log_gains.append(heads)
            numbers += [heads / 8, torch.where(asked.known[:, None], read, 0.0)]
            whole.append(-(weights**2).sum(2).log() / 5)
        return View(plain.mean, plain.deviation, torch.cat(log_gains, 2), torch.cat(numbers, 2), torch.cat(whole, 1))


def _padded(rows: Tensor) -> Tensor:
    return torch.cat([rows, torch.zeros_like(rows[:, :1])], 1)
