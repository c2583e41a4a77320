"""How a surrogate's network is trained: it searches on past tasks, and learns from whatever it meets there."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from .evidence import Evidence, Factors, View
from .past import OFFSET
from .reader import Outlook, Reader
from .recollection import to_regrets

_TASKS = 48  # in a batch
_LONGEST = 50  # trials of a history
_LOOKS = 8  # lengths of a history at which predictions are made
_ASKED = 72  # configurations that they are made of, at each step others
_REUSED = 8  # steps upon the same histories
_MIXED = 0.5  # share of tasks that are a mixture of two
_HIDDEN = 0.1  # share at most of configurations that pass for unheard
_LAZY = 0.3  # share at most of trials that are random
_NEVER = 1e9
_RATE, _DECAY = 3e-3, 1e-2
_FEWEST = 10  # steps that the rates are spread over
_FLOOR = 0.3  # regret that is left to save per task, over the trials done: steadies the loss
_LIKELIHOOD = 0.3  # weight beside that of gains


class Known(NamedTuple):
    """What training knows."""

    logs: Tensor  #: (past tasks, configurations) log losses
    factors: Factors  #: of the configurations, and a last row
    slots: Tensor  #: (configurations, slots)
    portfolio: list[int]  #: places, a few of the greedy portfolio

    def columns(self, places: Tensor) -> Tensor:
        """(configurations, SAID + slots) for a network, if these are their places."""
        return torch.cat([self.factors.at(places).to_columns(), self.slots], 1)


class Drill(NamedTuple):
    """Tasks to practise on, (tasks, configurations) each, and where they are from."""

    logs: Tensor
    regrets: Tensor
    own: Tensor  #: (tasks, 2) rows of the past


class Look(NamedTuple):
    """What there is to see, and to foretell, after some trials of each task."""

    view: View
    left: Tensor  #: (tasks, configurations) 1 where not tried yet
    gains: Tensor  #: (tasks, configurations) of regret


class Histories(NamedTuple):
    """Trials of a batch of tasks."""

    columns: Tensor  #: (configurations, SAID + slots) as they were seen
    tried: list[Tensor]  #: (tasks,) by trial
    surprises: list[Tensor]  #: (tasks, SURPRISE) by trial
    looks: dict[int, Look]  #: by trials done
    logs: Tensor  #: (tasks, configurations)


#: Evidence about so many tasks, made of these rows of the past (tasks, n).
Start = Callable[[int, Tensor], Evidence]


class Descent:
    """Steps of AdamW, at one cycle's rates."""

    def __init__(self, net: nn.Module, steps: int) -> None:
        self._net = net
        self._optimiser = torch.optim.AdamW(net.parameters(), lr=_RATE, weight_decay=_DECAY)
        self._rates = torch.optim.lr_scheduler.OneCycleLR(
            self._optimiser, _RATE, total_steps=max(steps, _FEWEST), pct_start=0.15
        )

    def step(self, loss: Tensor) -> None:
        """One."""
        self._optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self._net.parameters(), 1.0)
        self._optimiser.step()
        self._rates.step()


def draw_drill(logs: Tensor, tasks: int, rng: torch.Generator) -> Drill:
    """Past tasks, or mixtures of the logarithms of two, of the (past tasks, configurations) log losses."""
    rows = torch.randint(len(logs), (tasks, 2), generator=rng)
    share = torch.rand(tasks, 1, generator=rng) / 2
    share = torch.where(torch.rand(tasks, 1, generator=rng) < _MIXED, share, 0.0)
    rows[:, 1] = torch.where(share[:, 0] > 0, rows[:, 1], rows[:, 0])
    mixed = (1 - share) * logs[rows[:, 0]] + share * logs[rows[:, 1]]
    return Drill(mixed, to_regrets(mixed, OFFSET), rows)


def hidden_places(count: int, rng: torch.Generator) -> Tensor:
    """(count,) places, -1 for some of them, so that unheard configurations are learned about too."""
    hidden = torch.rand(count, generator=rng) < _HIDDEN * torch.rand(1, generator=rng)
    return torch.where(hidden, -1, torch.arange(count))


def practise(net: Reader, known: Known, start: Start, *, steps: int, rng: torch.Generator) -> None:
    """Train a network in place, on evidence that `start` makes."""
    descent = Descent(net, steps)
    for step in range(steps):
        if step % _REUSED == 0:
            histories = search(net, draw_drill(known.logs, _TASKS, rng), known, start, rng)
        descent.step(_loss(net, histories, rng))


@torch.no_grad()
def search(net: Reader, drill: Drill, known: Known, start: Start, rng: torch.Generator) -> Histories:
    """What the network tries on these tasks, with much chance in it, some of the portfolio first."""
    tasks, count = drill.logs.shape
    places, rows = hidden_places(count, rng), torch.arange(tasks)
    columns = known.columns(places)
    longest = min(_LONGEST, count - 1)
    lengths = (torch.rand(_LOOKS, generator=rng) ** 1.5 * longest).long() + 1
    embedded, evidence, state = net.embed(columns), start(tasks, drill.own), net.blank(tasks)
    heat, lazy = torch.rand(tasks, 1, generator=rng), _LAZY * torch.rand(tasks, 1, generator=rng)
    opening = torch.randint(len(known.portfolio) + 1, (tasks,), generator=rng)
    left, best = torch.ones(tasks, count), torch.ones(tasks)
    done = Histories(columns, [], [], {}, drill.logs)
    for trial in range(int(lengths.max())):
        chance = -torch.empty(tasks, count).exponential_(generator=rng).log()
        wish = net(state, evidence.view(places), embedded).log_gain + heat * chance if trial else chance
        wish = torch.where(torch.rand(tasks, 1, generator=rng) < lazy, chance, wish)
        if trial < len(known.portfolio):
            wish[opening > trial, known.portfolio[trial]] = _NEVER
        tried = torch.where(left > 0, wish, -_NEVER).argmax(1)
        left[rows, tried] = 0.0
        best = torch.minimum(best, drill.regrets[rows, tried])
        evidence, surprise = evidence.read(places[tried], drill.logs[rows, tried])
        state = net.remember(state, embedded[tried], surprise)
        done.tried.append(tried)
        done.surprises.append(surprise)
        if trial + 1 in lengths:
            gains = (best[:, None] - drill.regrets).clamp(min=0)
            done.looks[trial + 1] = Look(evidence.view(places), left.clone(), gains)
    return done


def _loss(net: Reader, histories: Histories, rng: torch.Generator) -> Tensor:
    """Mean over the looks, at some configurations."""
    chosen = torch.randperm(len(histories.columns), generator=rng)[:_ASKED]
    embedded, state = net.embed(histories.columns), net.blank(len(histories.logs))
    losses = []
    for trial, (tried, surprise) in enumerate(zip(histories.tried, histories.surprises, strict=True)):
        state = net.remember(state, embedded[tried], surprise)
        if (look := histories.looks.get(trial + 1)) is not None:
            outlook = net(state, look.view.at(chosen), embedded[chosen])
            losses.append(_look_loss(outlook, look, histories.logs, chosen, trial + 1))
    return torch.stack(losses).mean()


def _look_loss(outlook: Outlook, look: Look, logs: Tensor, chosen: Tensor, trials: int) -> Tensor:
    """Poisson deviance of gains, which are mostly none and seldom large, and Gaussian likelihood of losses."""
    left, gains = look.left[:, chosen], look.gains[:, chosen]
    deviance = (left * (outlook.log_gain.exp() - gains * outlook.log_gain)).sum()
    share = len(chosen) / logs.shape[1]
    deviance = deviance / (share * ((look.left * look.gains).sum() + _FLOOR / trials * len(logs)))
    errors = ((logs[:, chosen] - outlook.mean) / outlook.deviation).clamp(-6, 6)
    likelihood = (left * (0.5 * errors**2 + outlook.deviation.log())).sum() / left.sum().clamp(min=1)
    return deviance + _LIKELIHOOD * likelihood
