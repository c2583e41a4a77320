"""Pretraining of the in-context transformer on synthetic tables: every step other tasks, never the same twice.

What a step sees depends on the seed and its number alone, so that a run that is taken up is the same as one that was
never interrupted.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .in_context_network import CLASSES, GROUP, InContextNetwork
from .prior import sample_task

_TOKENS = 12_000  # cells and labels of a step
_MOST_TASKS = 48
_ROWS = (24, 360)
_FEWEST_LABELLED, _FEWEST_ASKED = 8, 12
_COLUMNS = (1, 24)
_REGRESSION = 0.4  # share of steps
_WARM_STEPS = 300
_DECAY, _CLIP = 1e-2, 1.0


@dataclass(frozen=True)
class Shape:
    """Of the network."""

    width: int = 64
    heads: int = 4
    blocks: int = 4


@dataclass(frozen=True)
class Step:
    """What was learned from."""

    number: int  #: from 1
    loss: float
    tasks: int  #: so far
    is_saved: bool


@dataclass(frozen=True)
class Batch:
    """Tasks of one size."""

    X: torch.Tensor  #: (B, N, C)
    y: torch.Tensor  #: (B, N)
    labelled: int
    classes: int


def pretrain(
    folder: Path,
    shape: Shape,
    *,
    steps: int,
    seed: int,
    learning_rate: float = 1e-3,
    save_every_s: float = 60.0,
) -> Iterator[Step]:
    """Steps, as they are done, from where the folder's checkpoint ends; the last is saved.

    Args:
        folder: of `checkpoint.pt`.
        shape: of the network; a checkpoint of another one is an error.
        steps: in all, of a learning rate that rises and then falls along a cosine.
        seed: decides everything.
        learning_rate: the highest.
        save_every_s: seconds between checkpoints.

    Raises:
        ValueError: the checkpoint is of another run.
    """
    run = {**asdict(shape), "steps": steps, "seed": seed, "learning_rate": learning_rate}
    torch.manual_seed(seed)
    network = InContextNetwork(**asdict(shape))
    optimiser = torch.optim.AdamW(network.parameters(), learning_rate, weight_decay=_DECAY)
    path, done, tasks = folder / "checkpoint.pt", 0, 0
    if path.exists():
        kept = torch.load(path, weights_only=True)
        if kept["run"] != run:
            raise ValueError(f"{path} is of another run: {kept['run']}, not {run}.")
        network.load_state_dict(kept["network"])
        optimiser.load_state_dict(kept["optimiser"])
        done, tasks = kept["done"], kept["tasks"]
    saved_at = time.monotonic()
    for number in range(done + 1, steps + 1):
        rate = learning_rate * min(1.0, number / _WARM_STEPS) * 0.5 * (1 + math.cos(math.pi * number / (steps + 1)))
        for group in optimiser.param_groups:
            group["lr"] = rate
        batch = draw(seed, number)
        generator = torch.Generator().manual_seed(number)
        loss = network.loss(batch.X, batch.y, batch.labelled, batch.classes, generator)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(network.parameters(), _CLIP)
        optimiser.step()
        tasks += len(batch.X)
        is_due = number == steps or time.monotonic() - saved_at >= save_every_s
        if is_due:
            _save(path, {"run": run, "done": number, "tasks": tasks}, network, optimiser)
            saved_at = time.monotonic()
        yield Step(number, float(loss.detach()), tasks, is_due)


def load(folder: Path) -> InContextNetwork:
    """The network of a folder's checkpoint."""
    kept = torch.load(folder / "checkpoint.pt", weights_only=True)
    network = InContextNetwork(**{name: kept["run"][name] for name in asdict(Shape())})
    network.load_state_dict(kept["network"])
    return network.eval()


def draw(seed: int, number: int) -> Batch:
    """The tasks of a step."""
    rng = np.random.default_rng([seed, number])
    rows, columns = (_between(rng, *limits) for limits in (_ROWS, _COLUMNS))
    classes = 0 if rng.random() < _REGRESSION else int(rng.choice([2, 2, 2, 3, 4, 5, 7, CLASSES]))
    rows = max(rows, 4 * classes)
    labelled = int(rng.integers(max(_FEWEST_LABELLED, classes), rows - _FEWEST_ASKED + 1))
    count = max(1, min(_MOST_TASKS, _TOKENS // (rows * (math.ceil(columns / GROUP) + 1))))
    found = [sample_task(rng, rows, columns, classes) for _ in range(count)]
    X, y = (np.stack([getattr(task, name) for task in found]) for name in ("X", "y"))
    if not classes:  # as whoever predicts can
        known = y[:, :labelled]
        y = (y - known.mean(1, keepdims=True)) / np.maximum(known.std(1, keepdims=True), 1e-3)
    return Batch(torch.from_numpy(X), torch.from_numpy(y), labelled, classes)


def _between(rng: np.random.Generator, low: int, high: int) -> int:
    """A whole number, its logarithm uniform."""
    return round(math.exp(rng.uniform(math.log(low), math.log(high))))


def _save(path: Path, about: dict[str, Any], network: InContextNetwork, optimiser: torch.optim.Optimizer) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    torch.save({**about, "network": network.state_dict(), "optimiser": optimiser.state_dict()}, partial)
    partial.replace(path)
