"""Does `limits.predict_ms_per_row` hold, and what does it cost?

    python -m benchmarks.limits --seconds 15 --ms 1

Each bench task through the service, once with the limit; the bundle is downloaded and timed alone, on one thread: a
batch of 1,000 rows (the median of five), and one row. Results are saved as they come; what is there is not run again.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.baselines import loss
from benchmarks.made import as_rows
from benchmarks.quality import warmstart
from benchmarks.stack import Stack, running_stack
from workers.corpus import CorpusTask, read_tasks, split
from workers.engine.bundle import open_bundle

_BATCH, _TIMES = 1000, 5


def main() -> None:
    """Run what is missing, then say where the limit was missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=15)
    parser.add_argument("--ms", type=float, default=1.0)
    parser.add_argument("--split", default="bench", choices=["bench", "train"])
    parser.add_argument("--tasks", nargs="*", help="only these")
    parser.add_argument("--out", type=Path, default=Path("results/limits.json"))
    options = parser.parse_args()
    options.out.parent.mkdir(parents=True, exist_ok=True)
    results: dict[str, Any] = json.loads(options.out.read_text()) if options.out.exists() else {}
    tasks = list(read_tasks(options.split, options.tasks))
    with running_stack() as stack:
        for task in tasks:
            if task.name not in results:
                results[task.name] = measure(stack, task, options.seconds, options.ms, options.out.parent)
                options.out.write_text(json.dumps(results, indent=1))
            print(f"{task.name:<24}" + "  ".join(f"{key} {value:.4g}" for key, value in results[task.name].items()))
    missed = [task.name for task in tasks if results[task.name]["ms_per_row"] > options.ms]
    print(f"{len(missed)} of {len(tasks)} slower than {options.ms:g} ms a row {missed or ''}")


def measure(stack: Stack, task: CorpusTask, seconds: float, limit_ms: float, folder: Path) -> dict[str, float]:
    """One job under the limit: its loss, and its bundle's speed."""
    parts = split(task, 0)
    limits = {"predict_ms_per_row": limit_ms}
    prediction, details = warmstart(
        stack.client, task, parts.train, parts.test, seconds, 0, parts.classes, limits=limits
    )
    path = folder / "limits.zip"
    stack.client.download_bundle(details["model"], path)
    model = open_bundle(path)
    rows = as_rows(parts.test.iloc[np.resize(np.arange(len(parts.test)), _BATCH)].drop(columns=task.target))
    columns, one = model.schema.rows_to_columns(rows)[0], model.schema.rows_to_columns(rows[:1])[0]
    truth = parts.test[task.target].to_numpy()
    return {
        "loss": loss(task.kind, truth, prediction, parts.classes),
        "ms_per_row": _seconds(lambda: model.predict_columns(columns)) * 1000 / _BATCH,
        "ms_one_row": _seconds(lambda: model.predict_columns(one)) * 1000,
        "megabytes": path.stat().st_size / 1e6,
    }


def _seconds(work: Any) -> float:
    """The median of some runs, after one to warm up."""
    work()
    took = []
    for _ in range(_TIMES):
        started = time.perf_counter()
        work()
        took.append(time.perf_counter() - started)
    return float(np.median(took))


if __name__ == "__main__":
    main()
