"""Practice of networks that read, on synthetic tables and real ones: every step other tasks, never the same twice.

What a step sees depends on the seed and its number alone, so that a run that is taken up is the same as one that was
never interrupted.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import save_file

from ...bundle.runtime.episode import Episode, class_targets
from .adapting import LstmNetwork, MamlNetwork, ReptileNetwork
from .in_context import GROUP, InContextNetwork
from .mann import MannNetwork
from .matching import MatchingNetwork
from .network import Batch, ReadingNetwork
from .prior import SyntheticTask, sample_task
from .rnn import RnnNetwork
from .siamese import SiameseNetwork
from .tables import RealTable, real_task

Array = NDArray[Any]

_TOKENS = 12_000  # cells and labels of a step
_MOST_TASKS = 48
_LABELLED, _ASKED = (8, 220), (16, 40)
_COLUMNS = (1, 24)
_REAL = 0.5  # share of tasks that are real, where there are tables
_REGRESSION = 0.4  # share of steps
_CLASSES = (2, 2, 2, 3, 4, 6)
_WARM_STEPS = 100
_DECAY, _CLIP = 1e-2, 1.0


@dataclass(frozen=True)
class Kind:
    """A network that reads, and how big it is."""

    network: type[ReadingNetwork]
    shape: Mapping[str, int]  #: arguments of the network
    learning_rate: float = 1.5e-3  #: the highest
    steps: int = 2_500


KINDS: Final[Mapping[str, Kind]] = {
    "in_context": Kind(InContextNetwork, {"width": 48, "heads": 4, "blocks": 3}),
    "matching": Kind(MatchingNetwork, {"width": 48}, steps=1_200),
    "rnn": Kind(RnnNetwork, {"width": 48, "units": 96}, steps=1_200),
    "mann": Kind(MannNetwork, {"width": 48, "slots": 64}, steps=800),
    "lstm_learner": Kind(LstmNetwork, {"width": 48, "units": 24, "steps": 8}, steps=1_000),
    "maml": Kind(MamlNetwork, {"width": 48, "units": 24, "steps": 8}, steps=1_200),
    "reptile": Kind(ReptileNetwork, {"width": 48, "units": 24, "steps": 8}, steps=1_200),
    "siamese": Kind(SiameseNetwork, {"width": 48}, steps=1_200),
}


@dataclass(frozen=True)
class Step:
    """What was learned from."""

    number: int  #: from 1
    loss: float
    tasks: int  #: so far
    is_saved: bool
    is_last: bool


def pretrain(
    folder: Path,
    name: str,
    *,
    steps: int | None = None,
    seed: int = 0,
    shape: Mapping[str, int] | None = None,
    tables: Sequence[RealTable] = (),
    save_every_s: float = 60.0,
) -> Iterator[Step]:
    """Steps, as they are done, from where the folder's checkpoint ends; the last is saved.

    Args:
        folder: of `checkpoint.pt`.
        name: of the network, in KINDS.
        steps: in all, of a learning rate that rises and then falls along a cosine; None: as many as its kind takes.
        seed: decides everything.
        shape: of the network; None: as its kind is.
        tables: real ones among the synthetic.
        save_every_s: seconds between checkpoints.

    Raises:
        ValueError: the checkpoint is of another run.
    """
    kind = KINDS[name]
    steps, learning_rate = steps or kind.steps, kind.learning_rate
    shape = dict(shape or kind.shape)
    run = {"name": name, "shape": shape, "steps": steps, "seed": seed, "rate": learning_rate, "tables": digest(tables)}
    torch.manual_seed(seed)
    network = kind.network(**shape)
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
        batch = draw(seed, number, tables)
        generator = torch.Generator().manual_seed(number)
        loss = network.loss(batch, generator)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(network.parameters(), _CLIP)
        optimiser.step()
        tasks += len(batch.wanted)
        is_due = number == steps or time.monotonic() - saved_at >= save_every_s
        if is_due:
            _save(path, {"run": run, "done": number, "tasks": tasks}, network, optimiser)
            saved_at = time.monotonic()
        yield Step(number, float(loss.detach()), tasks, is_due, number == steps)


def progress(folder: Path) -> tuple[int, int]:
    """Steps that a folder's checkpoint has done, and that it is to do; nought of nought where there is none."""
    path = folder / "checkpoint.pt"
    if not path.exists():
        return 0, 0
    kept = torch.load(path, weights_only=True)
    return int(kept["done"]), int(kept["run"]["steps"])


def load(folder: Path) -> ReadingNetwork:
    """The network of a folder's checkpoint."""
    kept = torch.load(folder / "checkpoint.pt", weights_only=True)
    network = KINDS[kept["run"]["name"]].network(**kept["run"]["shape"])
    network.load_state_dict(kept["network"])
    return network.eval()


def as_shipped(network: ReadingNetwork) -> tuple[dict[str, Any], dict[str, Array]]:
    """What a learner has to know of a network, and its tensors."""
    tensors = {name: tensor.numpy() for name, tensor in network.state_dict().items()}
    return network.about(), {**tensors, "centres": network.centres.numpy()}


def ship(network: ReadingNetwork, path: Path) -> None:
    """Write its weights as a learner reads them, in half precision."""
    about, tensors = as_shipped(network)
    half = {name: np.ascontiguousarray(tensor.astype(np.float16)) for name, tensor in tensors.items()}
    save_file(half, path, {"about": json.dumps(about)})  # one entry: several come in any order


def digest(tables: Sequence[RealTable]) -> str:
    """Of all that they hold."""
    found = hashlib.sha256()
    for table in tables:
        for name, part in (*table.columns.items(), (f"y of {table.classes} classes", table.y)):
            found.update(f"{name} {part.shape}".encode() + np.ascontiguousarray(part).tobytes())
    return found.hexdigest() if tables else "none"


def draw(seed: int, number: int, tables: Sequence[RealTable] = ()) -> Batch:
    """The tasks of a step."""
    rng = np.random.default_rng([seed, number])
    classes = 0 if rng.random() < _REGRESSION else int(rng.choice(_CLASSES))
    labelled, columns = max(_between(rng, *_LABELLED), 2 * classes), _between(rng, *_COLUMNS)
    rows = labelled + int(rng.integers(*_ASKED, endpoint=True))
    tokens = rows * (math.ceil(columns / GROUP) + 1) * (classes if classes > 2 else 1)
    count = max(1, min(_MOST_TASKS, _TOKENS // tokens))
    tasks = [_describe(_sample(rng, tables, rows, columns, classes), labelled, classes) for _ in range(count)]
    cells, described, share, wanted = (torch.from_numpy(np.stack(part)) for part in zip(*tasks, strict=True))
    return Batch(cells, described, share, wanted, labelled, classes)


def _sample(
    rng: np.random.Generator, tables: Sequence[RealTable], rows: int, columns: int, classes: int
) -> SyntheticTask:
    found = real_task(rng, tables, rows, columns, classes) if tables and rng.random() < _REAL else None
    return found or sample_task(rng, rows, columns, classes)


def _describe(task: SyntheticTask, labelled: int, classes: int) -> tuple[Array, Array, Array, Array]:
    """Cells, rows, shares and what is wanted of one task; every class is among the labelled rows."""
    X, y = task.X, task.y
    if classes:
        first = np.unique(y, return_index=True)[1]
        order = np.concatenate([first, np.setdiff1d(np.arange(len(y)), first)])
        X, y = X[order], y[order]
        targets, share = class_targets(y[:labelled], classes)
    else:
        known = y[:labelled]
        y = ((y - known.mean()) / max(float(known.std()), 1e-3)).astype(np.float32)  # as whoever predicts can
        targets, share = y[:labelled, None], np.ones(1, dtype=np.float32)
    episode = Episode(X[:labelled], targets)
    both = (np.concatenate(parts, axis=1) for parts in zip(episode.told(), episode.ask(X[labelled:]), strict=True))
    return *both, share, y[labelled:]


def _between(rng: np.random.Generator, low: int, high: int) -> int:
    """A whole number, its logarithm uniform."""
    return round(math.exp(rng.uniform(math.log(low), math.log(high))))


def _save(path: Path, about: dict[str, Any], network: ReadingNetwork, optimiser: torch.optim.Optimizer) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    torch.save({**about, "network": network.state_dict(), "optimiser": optimiser.state_dict()}, partial)
    partial.replace(path)
