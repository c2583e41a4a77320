"""How well do learners predict what they cost?

    OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 python -m benchmarks.costs

CPU seconds of one fit on one thread (with early stopping where a learner has it) beside `Learner.cost`, for every
hand-written default on made tables of several sizes. The constants in `workers/engine/learners/` were read off this.
"""

from __future__ import annotations

import argparse
import time

import numpy as np

from benchmarks.made import make_table
from workers.engine.bundle.runtime.schema import Field, Schema
from workers.engine.catalog import LEARNERS
from workers.engine.learners.base import FitContext, Size
from workers.engine.preprocessing.fit import fit_encoder
from workers.engine.space import Space
from workers.engine.types import TaskKind

SIZES = ((500, 10), (5_000, 20), (40_000, 20), (40_000, 100))


def main() -> None:
    """Print predicted and measured seconds, and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--learners", nargs="*", default=list(LEARNERS))
    parser.add_argument("--most", type=float, default=20.0, help="skip what is predicted to take longer, in seconds")
    options = parser.parse_args()
    for rows, columns in SIZES:
        for kind, n_classes in ((TaskKind.BINARY, 2), (TaskKind.MULTICLASS, 5), (TaskKind.REGRESSION, 0)):
            measure(rows, columns, kind, n_classes, options.learners, options.most)


def measure(rows: int, columns: int, kind: TaskKind, n_classes: int, names: list[str], most: float) -> None:
    """One table, every default of the named learners."""
    frame = make_table(rows, columns)
    numbers = [str(name) for name in frame if name != "y" and frame[name].dtype.kind == "f"]
    texts = [str(name) for name in frame if name != "y" and name not in numbers]
    schema = Schema(
        tuple(Field(name, "number") for name in numbers)
        + tuple(Field(name, "category", tuple(f"level {code}" for code in range(12))) for name in texts)
    )
    table = {name: frame[name].to_numpy() for name in numbers}
    for name in texts:
        table[name] = frame[name].str[6:].astype(float).fillna(-1).astype(np.int32).to_numpy()
    signal = np.nan_to_num(table["x0"]) + np.nan_to_num(table["x1"]) * np.nan_to_num(table["x2"])
    signal += np.random.default_rng(0).normal(size=rows)  # without noise nothing would stop early
    edges = np.quantile(signal, np.arange(1, n_classes) / max(1, n_classes))
    y = np.searchsorted(edges, signal) if n_classes else signal
    space = Space(names, kind, Size(rows=rows, columns=columns, classes=n_classes))
    for configuration in space.defaults():
        learner = space.learners[configuration["learner"]]
        encoder, X = fit_encoder(configuration, schema, table, y, kind, n_classes, 0)
        size = Size(rows=rows, columns=X.shape[1], classes=n_classes)
        predicted = learner.cost(configuration, size)
        if predicted > most:
            print(f"{rows:>7} x {X.shape[1]:<5}{kind:<12}{learner.name:<20}{predicted:>9.2f}  not measured", flush=True)
            continue
        context = FitContext(
            kind=kind,
            n_classes=n_classes,
            n_rows=rows,
            n_columns=X.shape[1],
            categorical=tuple(encoder.categorical),
            threads=1,
            seed=0,
        )
        own = {key: value for key, value in configuration.items() if key != "learner"}
        cut = max(1, min(4000, rows // 7))
        started = time.process_time()
        estimator = learner.build(own, context)
        held = (X[:cut], y[:cut], None) if learner.stops_early else None
        estimator.fit(X[cut:], y[cut:], eval_set=held)
        measured = time.process_time() - started
        print(
            f"{rows:>7} x {X.shape[1]:<5}{kind:<12}{learner.name:<20}{predicted:>9.2f}{measured:>9.2f}"
            f"{predicted / max(measured, 1e-3):>9.1f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
