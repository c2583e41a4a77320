"""A small network: MLP or ResNet over periodic embeddings of the columns (Gorishniy et al. 2021, 2022)."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from ..bundle.runtime.nets import load_network
from ..preprocessing.options import encoder_space
from ..space import Choice, Float, Int
from ..types import TaskKind
from .base import ABSOLUTE, Array, FitContext, Learner, Size
from .wrap import Wrapped

_PATIENCE = 10  # epochs without a better validation loss
_MOST_EPOCHS = 200
_MOST_CELLS = 40_000_000  # rows x columns beyond which an epoch is too slow here
_MOST_EMBEDDED = 150  # wider tables go in as they are


class _Network(Wrapped):
    def __init__(self, params: Mapping[str, Any], context: FitContext) -> None:
        super().__init__(lambda n_classes: max(n_classes, 0), context)
        self.params = params

    def _fit_inner(self, X: Array, y: Array, weight: Array | None, eval_set: Any) -> None:
        import torch

        from .network_module import NetworkModule

        torch.set_num_threads(self.context.threads)
        outputs = int(self.inner_)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.context.seed)
            module = NetworkModule(self.params, X.shape[1], outputs, embed_limit=_MOST_EMBEDDED)
            trainer = _Trainer(module, self.params, outputs, self.context)
            trainer.run(X, y, weight, eval_set)
        self.timed_ = trainer.timed
        self.best_iteration_ = trainer.best_epoch
        self.configuration_ = {"form": self.params["form"], "blocks": self.params["blocks"], "outputs": outputs}
        self.tensors_ = trainer.best
        self.inner_ = load_network(self.configuration_, self.tensors_)

    def _raw(self, X: Array) -> Any:
        return np.concatenate([self.inner_(X[i : i + 4096]) for i in range(0, len(X), 4096)])

    def _model(self) -> tuple[str, Any, dict[str, Any]]:
        return "network", (self.configuration_, self.tensors_), {}


class _Trainer:
    """AdamW with a cosine tail, early stopping on the validation part, the best weights kept."""

    def __init__(self, module: Any, params: Mapping[str, Any], outputs: int, context: FitContext) -> None:
        from .adamw import AdamW

        self.module, self.outputs, self.context = module, outputs, context
        self.optimiser = AdamW(module.parameters(), params["learning_rate"], params["weight_decay"])
        self.batch = int(min(512, max(32, 2 ** round(np.log2(max(context.n_rows, 2) / 40)))))
        self.best: dict[str, Array] = {}
        self.best_epoch = 0
        self.timed = False

    def run(self, X: Array, y: Array, weight: Array | None, eval_set: Any) -> None:
        """Train on (N, C) and (N,), for the epochs of a refit or until the validation loss stalls."""
        import torch

        epochs = self.context.iterations or (_MOST_EPOCHS if eval_set is not None else 30)
        until = None if self.context.seconds is None else time.monotonic() + self.context.seconds
        data = self._tensors(X, y, weight)
        check = None if eval_set is None or self.context.iterations else self._tensors(*eval_set)
        generator = torch.Generator().manual_seed(self.context.seed)
        least = np.inf
        for epoch in range(1, epochs + 1):
            self._epoch(data, generator, until)
            loss = self._validation_loss(check) if check is not None else -epoch
            if loss < least or not self.best:
                least, self.best_epoch, self.best = loss, epoch, self._state()
            if until is not None and time.monotonic() > until:
                self.timed = True
                return
            if epoch - self.best_epoch >= _PATIENCE:
                return

    def _epoch(self, data: Any, generator: Any, until: float | None) -> None:
        import torch

        self.module.train()
        for rows in self._batches(torch.randperm(len(data[1]), generator=generator)):
            self.optimiser.zero_grad()
            losses = self._losses(data[0][rows], data[1][rows])
            loss = losses.mean() if data[2] is None else (losses * data[2][rows]).mean()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self.module.parameters(), 1.0)
            self.optimiser.step()
            if until is not None and time.monotonic() > until:
                return

    def _batches(self, order: Any) -> Iterator[Any]:
        return (order[start : start + self.batch] for start in range(0, len(order), self.batch))

    def _losses(self, X: Any, y: Any) -> Any:
        from torch.nn import functional

        logits = self.module(X)
        if self.outputs:
            return functional.cross_entropy(logits, y, reduction="none")
        distance = functional.l1_loss if self.context.metric in ABSOLUTE else functional.mse_loss
        return distance(logits[:, 0], y, reduction="none")

    def _validation_loss(self, check: Any) -> float:
        import torch

        self.module.eval()
        with torch.no_grad():
            parts = [
                self._losses(check[0][i : i + 4096], check[1][i : i + 4096]) for i in range(0, len(check[1]), 4096)
            ]
            losses = torch.cat(parts)
            return float(losses.mean() if check[2] is None else (losses * check[2]).mean())

    def _tensors(self, X: Array, y: Array, weight: Array | None = None) -> tuple[Any, Any, Any]:
        import torch

        target = torch.as_tensor(y, dtype=torch.int64 if self.outputs else torch.float32)
        weights = None if weight is None else torch.as_tensor(weight / weight.mean(), dtype=torch.float32)
        return torch.as_tensor(np.ascontiguousarray(X), dtype=torch.float32), target, weights

    def _state(self) -> dict[str, Array]:
        return {name: tensor.detach().numpy().copy() for name, tensor in self.module.state_dict().items()}


def _declines(size: Size) -> str | None:
    return "an epoch takes too long on so many cells" if size.rows * size.columns > _MOST_CELLS else None


def _cost(params: Mapping[str, Any], size: Size) -> float:
    """About 25 epochs, each rows x weights, plus what every step costs."""
    batch = min(512, max(32, size.rows / 40))
    entry = size.columns * (9 if params["embed"] and size.columns <= _MOST_EMBEDDED else 1)
    weights = params["width"] * (entry + params["blocks"] * params["width"] * (4 if params["form"] == "resnet" else 1))
    per_row = 2.5e-10 * weights + 6e-8 * entry
    return float(0.3 + 25 * (size.rows * per_row + size.rows / batch * 1.2e-3))


def _build(params: Mapping[str, Any], context: FitContext) -> _Network:
    return _Network(params, context)


LEARNER = Learner(
    name="network",
    kinds=frozenset(TaskKind),
    space=(
        Choice(name="form", options=("mlp", "resnet"), default="mlp"),
        Int(name="blocks", low=1, high=4, default=2),
        Int(name="width", low=32, high=384, default=192, log=True),
        Choice(name="embed", options=(True, False), default=True),
        Float(name="frequency_scale", low=0.02, high=2.0, default=0.1, log=True, when=("embed", (True,))),
        Float(name="dropout", low=0.0, high=0.5, default=0.15),
        Float(name="learning_rate", low=2e-4, high=1e-2, default=1e-3, log=True),
        Float(name="weight_decay", low=1e-6, high=0.3, default=1e-2, log=True),
        *encoder_space(scaled=True, native_categories=False, native_missing=False),
    ),
    defaults=(
        {"form": "mlp", "blocks": 2, "width": 192, "prep_scale": "quantile"},
        {"form": "resnet", "blocks": 2, "width": 128, "embed": False, "prep_scale": "quantile", "dropout": 0.25},
    ),
    build=_build,
    cost=_cost,
    declines=_declines,
    stops_early=True,
    keeps_folds=True,
)
