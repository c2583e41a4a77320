"""Categories as lookup tables: a code picks a row of numbers. One-hot, ordinal, target and native codes alike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class TablePart:
    """The categorical block of an encoder: one table a column, row `code + 1` (0 missing, the last unseen)."""

    names: tuple[str, ...]
    tables: tuple[Array, ...]  #: float32 (len(vocabulary) + 2, columns)

    @property
    def width(self) -> int:
        """Columns that `transform` yields."""
        return sum(table.shape[1] for table in self.tables)

    def transform(self, columns: Mapping[str, Array]) -> Array:
        """The block, float32 (n, width)."""
        n = len(columns[self.names[0]]) if self.names else 0
        out = np.empty((n, self.width), dtype=np.float32)
        start = 0
        for name, table in zip(self.names, self.tables, strict=True):
            end = start + table.shape[1]
            out[:, start:end] = table[columns[name] + 1]
            start = end
        return out
