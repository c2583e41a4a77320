"""What trials prove, with nothing learned but linear factors of past losses: a Kalman filter over a task's traits.

Log losses are traits of the task times loadings of the configuration, plus noise, with loadings that are the principal
components of the past's losses. The filter is exact and recursive, so that networks read its state and its surprises
and need only learn where it errs.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol, Self

import torch
from torch import Tensor

RANK = 16  # traits of a task
SAID = 3 + RANK  # columns of what the past says of a configuration
SURPRISE = 6  # numbers that tell a network of one trial
_LEAST_NOISE = 0.02
_UNHEARD = 1e6  # noise of a configuration that the past does not have: it tells nothing of the traits
_WIDE = 0.5  # deviation that is expected of such a one
_MANY = 50.0  # trials
_FLOOR = -20.0  # of log gains


class Factors(NamedTuple):
    """Of configurations; nought for one that the past does not have."""

    known: Tensor  #: (n,) bool
    mean: Tensor  #: (n,)
    noise: Tensor  #: (n,) deviation
    loadings: Tensor  #: (n, RANK)

    def at(self, places: Tensor) -> Factors:
        """Those rows."""
        return Factors(*(each[places] for each in self))

    def to_columns(self) -> Tensor:
        """(n, SAID)."""
        return torch.cat([torch.stack([self.known.float(), self.mean, self.noise], 1), self.loadings], 1)

    @classmethod
    def from_columns(cls, columns: Tensor) -> Factors:
        """Back."""
        return cls(columns[:, 0] > 0, columns[:, 1], columns[:, 2], columns[:, 3:])


def factors(logs: Tensor) -> Factors:
    """Of (tasks, configurations) log losses, and a last row for whatever is not among them."""
    mean = logs.mean(0)
    _, sizes, directions = torch.linalg.svd(logs - mean, full_matrices=False)
    kept = min(RANK, len(sizes))
    loadings = torch.zeros(logs.shape[1], RANK)
    loadings[:, :kept] = (directions[:kept] * sizes[:kept, None]).T / max(1, len(logs) - 1) ** 0.5
    variance = ((logs - mean) ** 2).mean(0) - (loadings**2).sum(1)
    noise = variance.clamp(min=_LEAST_NOISE**2).sqrt()
    rows = Factors(torch.ones(len(mean), dtype=torch.bool), mean, noise, loadings)
    return Factors(*(torch.cat([each, torch.zeros_like(each[:1])]) for each in rows))


class View(NamedTuple):
    """What a batch of tasks is expected to show on n configurations."""

    mean: Tensor  #: (tasks, n) log loss
    deviation: Tensor  #: (tasks, n)
    log_gains: Tensor  #: (tasks, n, ways) logarithms of expected improvement, reckoned in some ways
    numbers: Tensor  #: (tasks, n, count) all that at a scale for networks
    whole: Tensor  #: (tasks, count) what does not depend on the configuration

    def at(self, chosen: Tensor) -> View:
        """Of those configurations only."""
        mean, deviation, log_gains, numbers = (each[:, chosen] for each in self[:-1])
        return View(mean, deviation, log_gains, numbers, self.whole)


class Evidence(Protocol):
    """About a batch of tasks, after some trials of each. Places are those of configurations, -1 for unheard ones."""

    @property
    def count(self) -> int:
        """Trials read."""
        ...

    def read(self, places: Tensor, logs: Tensor) -> tuple[Self, Tensor]:
        """One more trial of each task (tasks,); what of it was surprising (tasks, SURPRISE)."""
        ...

    def view(self, places: Tensor) -> View:
        """Of configurations (n,)."""
        ...


@dataclass(frozen=True)
class Filter:
    """The evidence that the factors give."""

    factors: Factors
    traits: Tensor  #: (tasks, RANK)
    covariance: Tensor  #: (tasks, RANK, RANK)
    best: Tensor  #: (tasks,) log loss; 0 before the first trial
    count: int = 0

    @classmethod
    def start(cls, factors: Factors, tasks: int) -> Filter:
        """Before the first trial."""
        return cls(factors, torch.zeros(tasks, RANK), torch.eye(RANK).repeat(tasks, 1, 1), torch.zeros(tasks))

    def read(self, places: Tensor, logs: Tensor) -> tuple[Filter, Tensor]:
        """An update after Kalman."""
        tried = self.factors.at(places)
        gain, spread = self.gain(tried)
        surprise = torch.where(tried.known, logs - tried.mean - (tried.loadings * self.traits).sum(1), 0.0)
        best = torch.minimum(self.best, logs) if self.count else logs
        numbers = [surprise, surprise / spread.sqrt(), logs, logs - self.best, best, spread.clamp(max=4.0)]
        after = replace(
            self,
            traits=self.traits + gain * surprise[:, None],
            covariance=self.covariance - gain[:, :, None] * gain[:, None, :] * spread[:, None, None],
            best=best,
            count=self.count + 1,
        )
        return after, torch.stack(numbers, 1)

    def gain(self, tried: Factors) -> tuple[Tensor, Tensor]:
        """By how much traits move per unit of surprise (tasks, RANK), and the variance of surprises (tasks,)."""
        moved = (self.covariance @ tried.loadings[:, :, None])[:, :, 0]
        spread = (tried.loadings * moved).sum(1) + torch.where(tried.known, tried.noise**2, _UNHEARD)
        return moved / spread[:, None], spread

    def view(self, places: Tensor) -> View:
        """Gaussian."""
        asked = self.factors.at(places)
        mean = asked.mean + self.traits @ asked.loadings.T
        variance = ((asked.loadings @ self.covariance) * asked.loadings).sum(2) + asked.noise**2
        deviation = torch.where(asked.known, variance.clamp(min=1e-6).sqrt(), _WIDE)
        below = self.best[:, None] - mean
        log_gain = log_expected_improvement(below, deviation)
        count = torch.full_like(mean, self.count / _MANY)
        numbers = [below / deviation / 4, deviation.log(), below, mean - asked.mean, log_gain / 8, count]
        whole = torch.cat([self.traits, self.best[:, None]], 1)
        return View(mean, deviation, log_gain[:, :, None], torch.stack(numbers, 2), whole)


def log_expected_improvement(below: Tensor, deviation: Tensor) -> Tensor:
    """Of a loss whose mean lies so much below the best; roughly right in the far tail, where only order matters."""
    margin = below / deviation
    bounded = margin.clamp(-4, 8)
    density = (-0.5 * bounded**2).exp() / (2 * torch.pi) ** 0.5
    gain = deviation * (bounded * torch.special.ndtr(bounded) + density)
    log_gain: Tensor = gain.clamp(min=1e-9).log() - 0.5 * (bounded - margin) ** 2
    return log_gain.clamp(min=_FLOOR)
