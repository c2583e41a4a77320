"""The real tables that learners practise on: one fixed half of the corpus's train groups that are not replay.

    make bench-install
    python -m workers.practice_tables data/practice.safetensors

Of each table at most 2,000 rows, as the learners' own encoder makes numbers of them; nothing of it ships.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

from workers.corpus import load, read_frame, read_tasks
from workers.engine.meta.reading.tables import ENCODINGS, RealTable, write_tables
from workers.engine.preprocessing.fit import fit_encoder
from workers.engine.types import TaskKind
from workers.seed import one_a_group_first, sample

_TEXT = {"prep_text": "word", "prep_text_dims": 16}
_MOST_COLUMNS = 120
_A_GROUP = 3  #: tasks of a group


def main() -> None:
    """Read, encode, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", type=Path)
    options = parser.parse_args()
    tables: dict[str, RealTable] = {}
    seen: dict[str, int] = {}
    for task in one_a_group_first(read_tasks("train")):
        if not task.teaches_learners or seen.get(task.group, 0) == _A_GROUP:
            continue
        try:
            kind = TaskKind(task.kind)
            tables[task.name] = encode(sample(load(task), task.target, kind), task.target, kind)
        except Exception as error:  # whatever one odd table does, the others are read
            print(f"{task.name}: left out: {error!r}", flush=True)
            continue
        seen[task.group] = seen.get(task.group, 0) + 1
        if len(tables) % 20 == 0:
            print(f"{len(tables)} tables", flush=True)
    options.path.parent.mkdir(parents=True, exist_ok=True)
    write_tables(options.path, tables)
    print(f"{len(tables)} tables of {len(seen)} groups")


def encode(frame: pd.DataFrame, target: str, kind: TaskKind) -> RealTable:
    """Its columns without a word of the target, so that who practises on some of the rows hears nothing of others."""
    with tempfile.TemporaryDirectory() as folder:
        table, found, _ = read_frame(frame, target, kind, Path(folder))
        columns = {name: np.array(values) for name, values in table.columns.items()}
    silent = np.zeros(len(found.y))
    encoded = {}
    for category in ENCODINGS:
        _, X = fit_encoder(
            {**_TEXT, "prep_category": category}, table.schema, columns, silent, TaskKind.REGRESSION, 0, 0
        )
        varies = np.flatnonzero(X.std(axis=0) > 0)[:_MOST_COLUMNS]
        encoded[category] = np.ascontiguousarray(X[:, varies])
    y = np.array(found.y)
    return RealTable(encoded, y.astype(np.int64 if found.classes else np.float32), len(found.classes or ()))


if __name__ == "__main__":
    main()
