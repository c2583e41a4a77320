"""What each mechanism is worth: the engine with one of them off, against the whole, on tasks of the train split.

    python -m benchmarks.ablation --seconds 20 --seeds 0
    python -m benchmarks.ablation --seconds 20 --seeds 0 --report

For each task and seed all variants run one after the other, each in a process of its own. Printed is the geometric mean
of loss by the loss of the whole (above 1: the mechanism helps) with its 95 % bootstrap interval over tasks, and how
long the first model took. The tasks are the first of the train split by a hash of their group, as many of each size.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import library
from workers.corpus import CorpusTask, read_tasks, split
from workers.engine import selection, stacking
from workers.engine.evaluation import calibration, pool
from workers.engine.search import auto, costs, halving
from workers.engine.types import Fidelity

WHOLE = "whole"
SIZES = ((200, 1_000), (1_000, 5_000), (5_000, 20_000), (20_000, 60_000))
_RESAMPLES = 2_000


def _no_bagging() -> None:
    """Every member is fitted once more on all rows; no average of fold models."""
    selection._FOLDS_WORTH_KEEPING = sys.maxsize


def _no_halving() -> None:
    """Every configuration is evaluated whole."""
    halving.ladder = lambda context: (Fidelity(),)


def _no_cost_learning() -> None:
    """Hints of learners as they are."""
    costs.CostModel.tell = lambda self, trial: None  # type: ignore[method-assign]


def _no_costs() -> None:
    """Everything is thought to be affordable."""
    auto.Auto._affordable = lambda self, proposal: True  # type: ignore[method-assign]


def _no_stacking() -> None:
    """No second layer."""
    stacking.StackPlan.within = lambda self, seconds: ([], 0.0)  # type: ignore[method-assign]


def _no_warmth() -> None:
    """Each trial process imports what it needs."""
    pool._CONTEXT.set_forkserver_preload([])


def _no_calibration() -> None:
    """Probabilities as the ensemble has them."""
    vars(selection)["calibrate"] = lambda *given: calibration.Calibration()


#: what is off -> how to turn it off in a fresh process, or what the plan says
VARIANTS: dict[str, Callable[[], None] | dict[str, Any]] = {
    WHOLE: {},
    "ensemble": {"ensemble": False},
    "bagging": _no_bagging,
    "stacking": _no_stacking,
    "halving": _no_halving,
    "cost learning": _no_cost_learning,
    "cost model": _no_costs,
    "calibration": _no_calibration,
    "warm processes": _no_warmth,
}


def main() -> None:
    """Run what is missing, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--seeds", type=int, nargs="*", default=[0])
    parser.add_argument("--tasks", type=int, default=16)
    parser.add_argument("--variants", nargs="*", default=list(VARIANTS), choices=list(VARIANTS))
    parser.add_argument("--out", type=Path, default=Path("results/ablation"))
    parser.add_argument("--report", action="store_true", help="run nothing")
    parser.add_argument("--one", nargs=3, metavar=("TASK", "SEED", "VARIANT"), help="only this, here")
    options = parser.parse_args()
    if options.one:
        one(options.one[0], int(options.one[1]), options.one[2], options.seconds)
        return
    cells = [(task, seed) for seed in options.seeds for task in choose(options.tasks)]
    folder = options.out / f"{options.seconds:g}s"
    folder.mkdir(parents=True, exist_ok=True)
    for task, seed in cells if not options.report else ():
        for variant in options.variants:
            complete(folder, task, seed, variant, options.seconds)
    report(folder, cells, options.variants)


def choose(count: int) -> list[CorpusTask]:
    """As many tasks of each size, one a group."""
    tasks = sorted(read_tasks("train"), key=lambda task: hashlib.sha256(task.group.encode()).digest())
    groups: dict[str, CorpusTask] = {}
    for task in tasks:
        groups.setdefault(task.group, task)
    each = count // len(SIZES)
    return [task for low, high in SIZES for task in islice((t for t in groups.values() if low <= t.rows < high), each)]


def complete(folder: Path, task: CorpusTask, seed: int, variant: str, seconds: float) -> None:
    """Run a variant in a process of its own, unless its result is there."""
    path = _path(folder, task, seed, variant)
    if path.exists():
        return
    command = [sys.executable, "-m", "benchmarks.ablation", "--seconds", f"{seconds:g}"]
    done = subprocess.run([*command, "--one", task.name, str(seed), variant], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{task.name}, {variant}: {done.stderr[-2000:]}")
    path.write_text(done.stdout.splitlines()[-1])
    print(f"{task.name:<24}seed {seed}  without {variant:<18}{path.read_text()}", flush=True)


def one(name: str, seed: int, variant: str, seconds: float) -> None:
    """Run a variant and print its result."""
    task = next(task for task in read_tasks("train") if task.name == name)
    off = VARIANTS[variant]
    if callable(off):
        off()
    pool.warm_up()
    with tempfile.TemporaryDirectory(prefix="ws-ablation-") as scratch:
        plan = {} if callable(off) else off
        run = library.run(task, split(task, seed), Path(scratch), seconds=seconds, seed=seed, **plan)
    trials = len(run.result.trials)
    print(json.dumps({"loss": run.loss, "first_model_s": run.first_model_s, "seconds": run.seconds, "trials": trials}))


def report(folder: Path, cells: list[tuple[CorpusTask, int]], variants: list[str]) -> None:
    """One line a variant."""
    paths = {(task.name, seed): [_path(folder, task, seed, variant) for variant in variants] for task, seed in cells}
    table = {
        cell: [json.loads(p.read_text()) for p in each] for cell, each in paths.items() if all(map(Path.exists, each))
    }
    if not table:
        print("nothing has been run in all variants")
        return
    names = sorted({name for name, _ in table})
    rng = np.random.default_rng(0)
    print(
        f"{len(names)} tasks, {len(table)} runs of each\n{'without':<20}{'loss by whole':>15}{'95 %':>18}{'worse':>8}",
        end="",
    )
    print(f"{'first model s':>16}{'trials':>9}")
    for place, variant in enumerate(variants):
        logs: dict[str, list[float]] = {name: [] for name in names}
        for (name, _), results in table.items():
            logs[name].append(np.log(max(results[place]["loss"], 1e-9) / max(results[0]["loss"], 1e-9)))
        means = np.array([np.mean(logs[name]) for name in names])
        resampled = rng.choice(means, (_RESAMPLES, len(means))).mean(axis=1)
        low, high = np.exp(np.quantile(resampled, [0.025, 0.975]))
        first, trials = (
            np.median([results[place][key] for results in table.values()]) for key in ("first_model_s", "trials")
        )
        print(
            f"{variant:<20}{np.exp(means.mean()):>15.4f}{f'{low:.4f} to {high:.4f}':>18}{(means > 0).sum():>8}"
            f"{first:>16.2f}{trials:>9.0f}"
        )


def _path(folder: Path, task: CorpusTask, seed: int, variant: str) -> Path:
    return folder / f"{task.name}-{seed}-{variant.replace(' ', '_')}.json"


if __name__ == "__main__":
    main()
