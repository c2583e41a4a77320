"""An optimiser that was learned: it has searched past tasks, and was trained by the regret that this caused.

In the line of Chen et al., "Learning to learn without gradient descent by gradient descent" (2017). On a table the gain
of every proposal is known, so that what a step is expected to gain has an exact gradient; only what it does to later
steps needs the score function (Williams, 1992).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from .metamodel import Array
from .networks import NetworkModel, mean_of
from .policy import Policy
from .practice import Descent, Drill, Known, Start, draw_drill, hidden_places
from .vocabulary import Encoded

_TASKS = 48
_LONG, _SHORT, _EVERY = 50, 20, 3  # trials of a search; one step in three is upon long ones
_FEWEST = 2  # trials of a search: the first is not the network's
_GUIDED, _TOLD = 0.7, 3  # share of searches that begin with the portfolio's first, so many
_HORIZON = 12.0  # trials for which a lower regret is worth having, at most
_DISCOUNT = 0.9
_STEADY = 0.002  # regret
_CURIOSITY = 0.003  # weight of entropy


class Steps(NamedTuple):
    """Of searches, (steps, tasks) each."""

    expected: Tensor  #: gain of regret, over what might have been proposed
    gained: Tensor  #: by what was
    chance: Tensor  #: logarithm, of proposing that
    entropy: Tensor


class LstmOptimiser(NetworkModel):
    """Prefers configurations by what they will have been worth."""

    name = "lstm_optimiser"
    steps = 200

    def gains(self, trials: Encoded, losses: Array, candidates: Encoded) -> Array:
        """Preferences: logits, of which only differences mean something."""
        return mean_of(self.opinions(trials, losses, candidates))

    def network(self) -> Policy:
        """Of the width that slots and evidence need."""
        return Policy(len(self.vocabulary.slots), self.example())

    def practise(self, network: Policy, known: Known, steps: int, rng: torch.Generator) -> None:
        """Search, and make likelier what lowered regret."""
        descent = Descent(network, steps)
        for step in range(steps):
            length = _LONG if step % _EVERY == 0 else _SHORT
            drill = draw_drill(known.logs, _TASKS, rng)
            descent.step(_loss(_search(network, drill, known, self.start, length, rng)))


def _search(network: Policy, drill: Drill, known: Known, start: Start, length: int, rng: torch.Generator) -> Steps:
    """By the policy itself, with the portfolio's first in most tasks."""
    tasks, count = drill.logs.shape
    places, rows = hidden_places(count, rng), torch.arange(tasks)
    embedded, evidence, state = network.embed(known.columns(places)), start(tasks, drill.own), network.blank(tasks)
    is_guided = torch.rand(tasks, generator=rng) < _GUIDED
    left, best = torch.ones(tasks, count, dtype=torch.bool), torch.ones(tasks)
    tried = torch.where(is_guided, known.portfolio[0], torch.randint(count, (tasks,), generator=rng))
    steps: list[Steps] = []
    for trial in range(max(_FEWEST, min(length, count - 1))):
        if trial:
            with torch.no_grad():
                view = evidence.view(places)
            chances = torch.log_softmax(network(state, view, embedded).masked_fill(~left, -1e9), 1)
            gains = (best[:, None] - drill.regrets).clamp(min=0)
            tried = torch.multinomial(chances.detach().exp(), 1, generator=rng)[:, 0]
            is_told = is_guided & (trial < min(_TOLD, len(known.portfolio)))
            if is_told.any():
                tried = torch.where(is_told, known.portfolio[trial], tried)
            steps.append(
                Steps(
                    expected=(chances.exp() * gains).sum(1),
                    gained=gains[rows, tried],
                    chance=torch.where(is_told, 0.0, chances[rows, tried]),
                    entropy=-(chances.exp() * chances).sum(1),
                )
            )
        best = torch.minimum(best, drill.regrets[rows, tried])
        left = left.scatter(1, tried[:, None], False)
        with torch.no_grad():
            evidence, surprise = evidence.read(places[tried], drill.logs[rows, tried])
        state = network.remember(state, embedded[tried], surprise)
    return Steps(*map(torch.stack, zip(*steps, strict=True)))


def _loss(steps: Steps) -> Tensor:
    """Less, the more regret is lowered and the sooner."""
    count = len(steps.gained)
    lasting = torch.arange(count, 0, -1)[:, None].clamp(max=_HORIZON) / _HORIZON
    later, running = torch.zeros_like(steps.gained), torch.zeros_like(steps.gained[0])
    for step in range(count - 1, -1, -1):
        later[step] = running
        running = _DISCOUNT * running + steps.gained[step] * lasting[step]
    advantage = _DISCOUNT * (later - later.mean(1, keepdim=True))
    scale = 1 / (steps.expected.detach().mean(1, keepdim=True) + _STEADY)
    value = scale * (lasting * steps.expected + advantage * steps.chance)
    return -value.mean() - _CURIOSITY * steps.entropy.mean()
