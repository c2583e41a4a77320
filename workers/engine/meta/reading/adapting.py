"""Learners that adapt a small network in a few steps: its start is learned across tasks, and so may be the steps.

The small network maps a row's embedding to the target. Its gradient on the labelled rows is written out, so that what
practice minimises, the error on other rows after the steps, is differentiated as any function is.

- MAML (Finn et al., "Model-agnostic meta-learning", 2017): gradient steps from a learned start, at learned rates.
- LSTM meta-learner (Ravi and Larochelle, "Optimization as a model for few-shot learning", 2017): the small network's
  weights are the cell state of an LSTM that is the same for all of them; forget gate and input gate read the gradient.
- Reptile (Nichol et al., "On first-order meta-learning algorithms", 2018): the start moves towards where steps lead.

B targets, N rows of which the first S are labelled, D width, H units of the small network, P of its weights.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import Any

import torch
from torch import Tensor, nn

from ...bundle.runtime.adapting import ENTER, FORGET, SHIFT
from .encoder import RowEncoder
from .network import Batch, ReadingNetwork

GATE_INPUTS = 6  #: gradient and loss, each as two numbers; weight; the gate before


class AdaptingNetwork(ReadingNetwork):
    """The small network is `tanh(e V + a) w + b`; its weights lie end to end: V (D, H), a (H), w (H), b.

    Args:
        width: D.
        units: H.
        steps: on all labelled rows.
    """

    def __init__(self, width: int, units: int, steps: int) -> None:
        super().__init__(units)
        self.width, self.units, self.steps = width, units, steps
        self.encoder = RowEncoder(width)
        start = torch.zeros(width * units + 2 * units + 1)
        start[: width * units] = torch.randn(width * units) / math.sqrt(width)
        start[-units - 1 : -1] = torch.randn(units) / math.sqrt(units)
        self.start = nn.Parameter(start)

    def forward(
        self, cells: Tensor, rows: Tensor, labelled: int, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """Of a row, the small network's units, and what it says, after its steps."""
        embedded = self.encoder(cells, rows)
        weights = self.adapted(embedded[:, :labelled], rows[:, :labelled, 0])
        return self._small(weights, embedded[:, labelled:])

    def about(self) -> dict[str, Any]:
        """Units and steps of the small network."""
        return {"units": self.units, "steps": self.steps}

    def adapted(self, embedded: Tensor, labels: Tensor) -> Tensor:
        """(B, P) after all steps."""
        weights, state = self.start.expand(len(embedded), -1), self._first(len(embedded))
        for step in range(self.steps):
            gradient, loss = self._gradient(weights, embedded, labels)
            weights, state = self._step(step, weights, gradient, loss, state)
        return weights

    @abstractmethod
    def _step(
        self, step: int, weights: Tensor, gradient: Tensor, loss: Tensor, state: tuple[Tensor, ...]
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Weights (B, P) and state after a step; the loss is (B,)."""

    def _first(self, batch: int) -> tuple[Tensor, ...]:
        return ()

    def _parts(self, weights: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """V (B, D, H), a (B, 1, H), w (B, H, 1), b (B, 1)."""
        sizes = [self.width * self.units, self.units, self.units, 1]
        V, a, w, b = torch.split(weights, sizes, dim=1)
        return V.view(-1, self.width, self.units), a[:, None], w[:, :, None], b

    def _small(self, weights: Tensor, embedded: Tensor) -> tuple[Tensor, Tensor]:
        """Units (B, N, H) and outputs (B, N)."""
        V, a, w, b = self._parts(weights)
        units = torch.tanh(embedded @ V + a)
        return units, (units @ w)[..., 0] + b

    def _gradient(self, weights: Tensor, embedded: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Of the mean squared error (B,), by the weights (B, P)."""
        _, _, w, _ = self._parts(weights)
        units, said = self._small(weights, embedded)
        error = said - labels  # (B, S)
        slope = 2 * error[..., None] / labels.shape[1]
        inner = slope * w.transpose(1, 2) * (1 - units**2)  # (B, S, H)
        parts = [
            (embedded.transpose(1, 2) @ inner).flatten(1),
            inner.sum(dim=1),
            (units.transpose(1, 2) @ slope)[..., 0],
            slope.sum(dim=1),
        ]
        return torch.cat(parts, dim=1), (error**2).mean(dim=1)


class MamlNetwork(AdaptingNetwork):
    """Gradient steps at a rate a step."""

    def __init__(self, width: int, units: int, steps: int) -> None:
        super().__init__(width, units, steps)
        self.rates = nn.Parameter(torch.full((steps,), -2.0))  # logarithms

    def _step(
        self, step: int, weights: Tensor, gradient: Tensor, loss: Tensor, state: tuple[Tensor, ...]
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        return weights - self.rates[step].exp() * gradient, state


class LstmNetwork(AdaptingNetwork):
    """An LSTM's cell state: `forget * weights - enter * gradient`."""

    def __init__(self, width: int, units: int, steps: int) -> None:
        super().__init__(width, units, steps)
        self.forget, self.enter = nn.Linear(GATE_INPUTS, 1), nn.Linear(GATE_INPUTS, 1)
        for gate, bias in ((self.forget, FORGET), (self.enter, ENTER)):
            nn.init.normal_(gate.weight, std=0.01)
            nn.init.constant_(gate.bias, bias)

    def _first(self, batch: int) -> tuple[Tensor, ...]:
        shape = (batch, len(self.start))
        return torch.full(shape, FORGET).sigmoid(), torch.full(shape, ENTER).sigmoid()

    def _step(
        self, step: int, weights: Tensor, gradient: Tensor, loss: Tensor, state: tuple[Tensor, ...]
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        told = torch.cat([_as_two(gradient), _as_two(loss[:, None].expand_as(gradient)), weights[..., None]], dim=-1)
        forget, enter = (
            torch.sigmoid(gate(torch.cat([told, before[..., None]], dim=-1)))[..., 0]
            for gate, before in zip((self.forget, self.enter), state, strict=True)
        )
        return forget * weights - enter * gradient, (forget, enter)


class ReptileNetwork(MamlNetwork):
    """Steps as MAML's, at one rate that is not learned; nothing is differentiated through them."""

    def __init__(self, width: int, units: int, steps: int) -> None:
        super().__init__(width, units, steps)
        self.rates.requires_grad = False

    def adapted(self, embedded: Tensor, labels: Tensor) -> Tensor:
        """(B, P), as numbers."""
        with torch.no_grad():
            return super().adapted(embedded, labels)

    def loss(self, batch: Batch, generator: torch.Generator) -> Tensor:
        """Cross-entropy after the steps, for embedding and answer; for the start, its distance from where they lead."""
        cells, rows = batch.cells.flatten(0, 1), batch.rows.flatten(0, 1)
        embedded = self.encoder(cells, rows)[:, : batch.labelled].detach()
        goal = self.adapted(embedded, rows[:, : batch.labelled, 0])
        return super().loss(batch, generator) + 0.5 * ((self.start - goal) ** 2).sum(dim=1).mean()


def _as_two(x: Tensor) -> Tensor:
    """Logarithm and sign, or what is near 0 as it is (Andrychowicz et al. 2016)."""
    is_large = x.abs() >= math.exp(-SHIFT)
    size = torch.where(is_large, x.abs().clamp(min=math.exp(-SHIFT)).log() / SHIFT, torch.full_like(x, -1.0))
    return torch.stack([size, torch.where(is_large, x.sign(), math.exp(SHIFT) * x)], dim=-1)
