"""AdamW (Loshchilov & Hutter 2019) for small networks.

torch's own imports torch's compiler when it is made: two seconds of CPU in every trial process.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

_FIRST, _SECOND, _EPSILON = 0.9, 0.999, 1e-8  # decay of the two moments


class AdamW:
    """The same steps as `torch.optim.AdamW`, from gradients that `backward` has left."""

    def __init__(self, parameters: Iterable[Tensor], lr: float, weight_decay: float) -> None:
        self.parameters = list(parameters)
        self.lr, self.weight_decay = lr, weight_decay
        self._steps = 0
        self._means = [torch.zeros_like(parameter) for parameter in self.parameters]
        self._squares = [torch.zeros_like(parameter) for parameter in self.parameters]

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for parameter in self.parameters:
            parameter.grad = None

    @torch.no_grad()
    def step(self) -> None:
        """One step along the gradients."""
        self._steps += 1
        length = self.lr / (1 - _FIRST**self._steps)
        root = (1 - _SECOND**self._steps) ** 0.5
        for parameter, mean, square in zip(self.parameters, self._means, self._squares, strict=True):
            if (slope := parameter.grad) is not None:
                parameter.mul_(1 - self.lr * self.weight_decay)
                mean.lerp_(slope, 1 - _FIRST)
                square.mul_(_SECOND).addcmul_(slope, slope, value=1 - _SECOND)
                parameter.addcdiv_(mean, (square.sqrt() / root).add_(_EPSILON), value=-length)
