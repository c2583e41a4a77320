"""Columns in, float32 matrix out. Fitted by `preprocessing`; kept as JSON and plain arrays."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any
from zipfile import Path as ZipPath

import numpy as np

from .derived import DerivedPart
from .errors import BundleProblem
from .numbers import NumberPart
from .tables import TablePart
from .texts import TextPart

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Encoder:
    """A fitted encoder: numbers, then categories, then texts; then what is made of them all."""

    numbers: NumberPart | None = None
    tables: TablePart | None = None
    texts: tuple[TextPart, ...] = ()
    categorical: tuple[int, ...] = ()  #: output columns that hold category codes for learners that want them
    derived: DerivedPart | None = None

    @property
    def width(self) -> int:
        """Columns before `derived`."""
        return sum(part.width for part in (self.numbers, self.tables, *self.texts) if part is not None)

    def transform(self, columns: Mapping[str, Array]) -> Array:
        """The matrix of these columns, float32 (n, columns)."""
        n = len(next(iter(columns.values()))) if columns else 0
        out = np.empty((n, self.width), dtype=np.float32)
        start = 0
        for block in self._blocks(columns):
            out[:, start : start + block.shape[1]] = block
            start += block.shape[1]
        return out if self.derived is None else self.derived.transform(out)

    def _blocks(self, columns: Mapping[str, Array]) -> list[Array]:
        blocks = []
        if self.numbers is not None:
            blocks.append(self.numbers.transform(columns))
        if self.tables is not None:
            blocks.append(self.tables.transform(columns))
        return blocks + [part.transform(columns[part.name]) for part in self.texts]

    def save(self, folder: Path) -> None:
        """Write encoder.json and encoder.npz into a folder."""
        arrays: dict[str, Array] = {}
        state = {
            "numbers": None if self.numbers is None else _split(self.numbers, "numbers", arrays),
            "tables": None if self.tables is None else _split(self.tables, "tables", arrays),
            "texts": [_split(part, f"text{number}", arrays) for number, part in enumerate(self.texts)],
            "categorical": list(self.categorical),
            "derived": None if self.derived is None else _split(self.derived, "derived", arrays),
        }
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "encoder.json").write_text(json.dumps(state, ensure_ascii=False), encoding="utf-8")
        with (folder / "encoder.npz").open("wb") as file:
            np.savez(file, allow_pickle=False, **arrays)

    @classmethod
    def load(cls, folder: Path | ZipPath) -> Encoder:
        """Back from `save`.

        Raises:
            BundleProblem: the files are no encoder of this format.
        """
        try:
            state = json.loads((folder / "encoder.json").read_text(encoding="utf-8"))
            with np.load(io.BytesIO((folder / "encoder.npz").read_bytes()), allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
            return cls(
                _join(NumberPart, state["numbers"], "numbers", arrays),
                _join(TablePart, state["tables"], "tables", arrays),
                tuple(_join(TextPart, item, f"text{number}", arrays) for number, item in enumerate(state["texts"])),
                tuple(state["categorical"]),
                _join(DerivedPart, state.get("derived"), "derived", arrays),
            )
        except (OSError, KeyError, TypeError, ValueError) as error:
            raise BundleProblem(f"not an encoder: {error!r}") from error


def _split(part: Any, prefix: str, arrays: dict[str, Array]) -> dict[str, Any]:
    """JSON-able fields of a part; its arrays go into `arrays`. A tuple of arrays is kept flat, with its shapes."""
    state: dict[str, Any] = {}
    for field in fields(part):
        value, key = getattr(part, field.name), f"{prefix}.{field.name}"
        if isinstance(value, np.ndarray):
            arrays[key] = value
        elif isinstance(value, tuple) and value and isinstance(value[0], np.ndarray):
            arrays[key] = np.concatenate([item.ravel() for item in value])
            state[field.name] = {"shapes": [item.shape for item in value]}
        else:
            state[field.name] = value
    return state


def _join(kind: type[Any], state: dict[str, Any] | None, prefix: str, arrays: dict[str, Array]) -> Any:
    if state is None:
        return None
    values = {name: _from_json(value, arrays.get(f"{prefix}.{name}")) for name, value in state.items()}
    lead = prefix + "."
    whole = {key[len(lead) :]: array for key, array in arrays.items() if key.startswith(lead)}
    return kind(**{**whole, **values})


def _from_json(value: Any, flat: Array | None) -> Any:
    if isinstance(value, dict) and flat is not None:
        shapes = [tuple(shape) for shape in value["shapes"]]
        ends = np.cumsum([int(np.prod(shape)) for shape in shapes])
        return tuple(part.reshape(shape) for part, shape in zip(np.split(flat, ends[:-1]), shapes, strict=True))
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value
