"""A resolved spec and its stored table as the engine takes them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from workers.problem import read_question


def _info(name: str) -> dict[str, Any]:
    return {"name": name, "kind": "number", "type": "number", "distinct": 900, "missing": 0, "is_integer": False}


def test_a_sample_keeps_features_and_target_of_a_row_together(tmp_path: Path) -> None:
    numbers = np.arange(1_000, dtype=np.float64)
    target = np.where(numbers % 7 == 0, np.nan, numbers + 0.5)
    path = tmp_path / "table.parquet"
    pq.write_table(pa.table({"a": numbers, "b": -numbers, "y": target}), path, row_group_size=130)
    spec = {
        "target": "y",
        "kind": "regression",
        "features": {"include": None, "exclude": [], "kinds": {}},
        "weights_column": None,
        "validation": {"group_column": None, "time_column": None},
    }
    columns = [_info(name) for name in ("a", "b", "y")]
    table, read = read_question(spec, columns, path, rows=200)
    assert table.n_rows == len(read.y) == read.mask.sum() == 200
    np.testing.assert_array_equal(table.columns["a"] + 0.5, read.y)
    np.testing.assert_array_equal(table.columns["b"], -table.columns["a"])
    assert not (table.columns["a"] % 7 == 0).any()
    assert table.columns["a"].min() < 100
    assert table.columns["a"].max() > 900
    whole, everything = read_question(spec, columns, path, rows=10_000)
    assert whole.n_rows == len(everything.y) == np.isfinite(target).sum()
