"""The set encoder, trained on the corpus' tables: raise `set_encoder.VERSION` first, descriptions keep its numbers.

    make bench-install
    python -m workers.encoder

Every table of the train split that is no replay group's, whether or not it has evaluations: no loss is looked at.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from workers.corpus import CorpusTask, load, read_frame, read_tasks
from workers.engine.meta.metafeature_embedding import squashed
from workers.engine.meta.metafeatures import metafeatures
from workers.engine.meta.set_encoder import FILE
from workers.engine.meta.set_training import Table, train_encoder
from workers.engine.meta.table_sample import to_numbers
from workers.engine.types import TaskKind
from workers.seed import sample

_ROWS, _COLUMNS = 800, 64  # of a table, that training draws from
_FEWEST = 0.2  # share of tables that have a metafeature, for it to be read off
_CLIP = 3.0


def main() -> None:
    """Write the file that the package ships."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=1_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    tables = read_tables(task for task in read_tasks("train") if not task.is_replay)
    train_encoder(tables, seed=options.seed, steps=options.steps).save(FILE)


def read_tables(tasks: Iterable[CorpusTask]) -> list[Table]:
    """What training keeps of each."""
    read = [_read(task) for task in tasks]
    seen = [found for _, found in read]
    names = sorted({name for found in seen for name in found})
    names = [name for name in names if sum(name in found for found in seen) >= _FEWEST * len(seen)]
    wanted = np.array([[squashed(found[name]) if name in found else np.nan for name in names] for found in seen])
    wanted = (wanted - np.nanmean(wanted, axis=0)) / (np.nanstd(wanted, axis=0) + 1e-9)
    rows = np.clip(wanted, -_CLIP, _CLIP)
    return [Table(*table, row) for (table, _), row in zip(read, rows, strict=True)]


def _read(task: CorpusTask) -> tuple[tuple[np.ndarray, np.ndarray, np.ndarray, bool], dict[str, float]]:
    """(cells, is_category, y, is_classes) and metafeatures, by the road that an upload takes."""
    kind = TaskKind(task.kind)
    with tempfile.TemporaryDirectory(prefix="ws-encoder-") as name:
        frame = sample(load(task, with_unit=True), task.target, kind)
        table, found, _ = read_frame(frame, task.target, kind, Path(name), task.unit)
    rng = np.random.default_rng(0)
    rows = rng.permutation(len(found.y))[:_ROWS]
    fields = [table.schema.fields[place] for place in rng.permutation(len(table.schema.fields))[:_COLUMNS]]
    cells = np.stack([to_numbers(table.columns[field.name][rows], field.kind) for field in fields])
    is_category = np.array([field.kind == "category" for field in fields])
    y = np.asarray(found.y, dtype=np.float64)[rows]
    return (cells, is_category, y, kind.is_classification), metafeatures(table.columns, table.schema, found.y, kind)


if __name__ == "__main__":
    main()
