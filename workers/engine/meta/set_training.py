"""Training of the set encoder, on tables alone: two parts of one table belong together, parts of two tables do not.

Parts share no rows, and few columns; so what the encoder says is of the table and not of the rows that it happened to
see. So that it also says what matters to learners, a linear layer must read the plain metafeatures off its numbers,
landmarkers among them. No trial's loss is seen: what is judged on losses can be judged on every task.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from .set_encoder import NUMBERS, SetEncoder
from .table_sample import FEATURES, Array, pair_up

_WIDTH = 32
_TABLES = 16  # of a step, two parts of each
_PART_COLUMNS, _PART_UNITS = 8, 12
_FEWEST_ROWS, _MOST_ROWS = 16, 100  # of a part
_LEARNING_RATE, _DECAY = 2e-3, 1e-4
_TEMPERATURE = 0.5
_READ = 1.0  # weight of the error of metafeatures, beside that of belonging


@dataclass(frozen=True)
class Table:
    """What training keeps of a table."""

    cells: Array  #: (columns, rows), as `table_sample.to_numbers`
    is_category: NDArray[np.bool_]  #: (columns,)
    y: Array  #: (rows,)
    is_classes: bool
    wanted: Array  #: (metafeatures,) standardised, NaN where the task has none


class _Network(nn.Module):
    """The same as `SetEncoder`, for padded batches."""

    def __init__(self, wanted: int) -> None:
        super().__init__()
        sizes = {
            "cell": (FEATURES, _WIDTH),
            "row": (_WIDTH, _WIDTH),
            "column": (_WIDTH, _WIDTH),
            "wide": (_WIDTH, _WIDTH),
            "task": (2 * _WIDTH, 2 * _WIDTH),
            "out": (2 * _WIDTH, NUMBERS),
        }
        self.layers = nn.ModuleDict({name: nn.Linear(*size) for name, size in sizes.items()})
        self.read = nn.Linear(NUMBERS, wanted)

    def forward(self, cells: Tensor, rows: Tensor, units: Tensor) -> Tensor:
        """(B, NUMBERS) from (B, U, R, FEATURES); `rows` (B, R) and `units` (B, U) say what is no padding."""
        hidden = self._relu(self._relu(cells, "cell"), "row")
        mean = (hidden * rows[:, None, :, None]).sum(2) / rows.sum(1)[:, None, None]
        unit = self._relu(self._relu(mean, "column"), "wide") * units[:, :, None]
        whole = torch.cat([unit.sum(1) / units.sum(1, keepdim=True), unit.amax(1)], dim=1)
        numbers: Tensor = self.layers["out"](self._relu(whole, "task"))
        return numbers

    def _relu(self, inputs: Tensor, layer: str) -> Tensor:
        return functional.relu(self.layers[layer](inputs))


def train_encoder(tables: Sequence[Table], *, seed: int, steps: int) -> SetEncoder:
    """The same seed gives the same weights."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    network = _Network(len(tables[0].wanted))
    optimiser = torch.optim.AdamW(network.parameters(), _LEARNING_RATE, weight_decay=_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, _LEARNING_RATE, steps)
    for _ in range(steps):
        chosen = [tables[place] for place in rng.choice(len(tables), min(_TABLES, len(tables)), replace=False)]
        parts = [part for table in chosen for part in _two_parts(table, rng)]
        numbers = network(*_padded(parts))
        loss = _belonging(numbers) + _READ * _unread(network.read(numbers), chosen)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        schedule.step()
    return _centred(network, tables, rng)


def _two_parts(table: Table, rng: np.random.Generator) -> list[Array]:
    """Samples (units, rows, FEATURES) that share no row."""
    order = rng.permutation(len(table.y))
    size = int(rng.integers(min(_FEWEST_ROWS, len(order) // 2), min(_MOST_ROWS, len(order) // 2) + 1))
    parts = []
    for rows in (order[:size], order[size : 2 * size]):
        columns = rng.permutation(len(table.cells))[:_PART_COLUMNS]
        cells = table.cells[np.ix_(columns, rows)]
        parts.append(pair_up(cells, table.is_category[columns], table.y[rows], table.is_classes)[:_PART_UNITS])
    return parts


def _padded(parts: Sequence[Array]) -> tuple[Tensor, Tensor, Tensor]:
    """Cells (B, U, R, FEATURES), and masks of rows (B, R) and units (B, U)."""
    units, rows = (max(part.shape[axis] for part in parts) for axis in (0, 1))
    cells = torch.zeros(len(parts), units, rows, FEATURES)
    has_row, has_unit = torch.zeros(len(parts), rows), torch.zeros(len(parts), units)
    for place, part in enumerate(parts):
        cells[place, : part.shape[0], : part.shape[1]] = torch.from_numpy(part.astype(np.float32))
        has_row[place, : part.shape[1]] = 1
        has_unit[place, : part.shape[0]] = 1
    return cells, has_row, has_unit


def _belonging(numbers: Tensor) -> Tensor:
    """Cross-entropy of finding a part's other half among all parts of the step, by distance."""
    likeness = -torch.cdist(numbers, numbers).square() / _TEMPERATURE
    likeness = likeness - 1e9 * torch.eye(len(numbers))
    return functional.cross_entropy(likeness / NUMBERS, torch.arange(len(numbers)) ^ 1)


def _unread(read: Tensor, tables: Sequence[Table]) -> Tensor:
    """Mean squared error of the metafeatures, of those that are known."""
    wanted = torch.from_numpy(np.stack([table.wanted for table in tables]).astype(np.float32)).repeat_interleave(2, 0)
    known = ~wanted.isnan()
    return (read - wanted)[known].square().mean()


def _centred(network: _Network, tables: Sequence[Table], rng: np.random.Generator) -> SetEncoder:
    """With numbers of mean 0 and deviation 1 over the tables."""
    weights = {
        name: tensor.detach().numpy().copy()  # `<layer>.weight` and `<layer>.bias`
        for name, tensor in network.layers.named_parameters()
    }
    with torch.no_grad():
        seen = torch.cat([network(*_padded([_two_parts(table, rng)[0]])) for table in tables]).numpy()
    deviation = seen.std(axis=0) + 1e-6
    weights["out.weight"] = weights["out.weight"] / deviation[:, None]
    weights["out.bias"] = (weights["out.bias"] - seen.mean(axis=0)) / deviation
    return SetEncoder(weights)
