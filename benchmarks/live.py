"""What knowledge is worth in real jobs: the same job cold and warm through HTTP, on each task and seed.

    python -m benchmarks.live --seconds 60 --seeds 0 1 2
    python -m benchmarks.live --report

Cold is `knowledge: off`, warm is what the package ships; neither contributes. One service for all, the two jobs of a
task one after the other, every other task warm first. Each run is saved as it ends, and not run again. Printed is by
how much sooner the warm job's best trial has the validation loss that the cold job's best trial ends with, against the
moment at which cold had it; a warm job that never has it counts as if it had needed twice its budget. Then the loss of
the finished models on the test rows, and on which tasks a paired bootstrap over these rows, all seeds together, shows
that warm is worse (or better).
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.client import Client
from benchmarks.baselines import loss
from benchmarks.quality import warmstart
from benchmarks.stack import instant, running_stack
from workers.corpus import CorpusTask, read_tasks, split
from workers.engine.types import Fidelity

Array = NDArray[np.float64]
Run = dict[str, Any]

SPECS = {"cold": {"knowledge": "off"}, "warm": {"knowledge": "shared"}}
_NEVER = 2.0  # budgets, that a score which was never reached counts for
_BOOTSTRAP = 2_000
_CLOSE = 1e-9


def main() -> None:
    """Run what is missing, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seeds", type=int, nargs="*", default=[0])
    parser.add_argument("--split", default="bench", choices=["bench", "train"])
    parser.add_argument("--tasks", nargs="*", help="only these")
    parser.add_argument("--out", type=Path, default=Path("results/live"))
    parser.add_argument("--report", action="store_true", help="run nothing")
    options = parser.parse_args()
    tasks = list(read_tasks(options.split, options.tasks))
    folder = options.out / f"{options.seconds:g}s"
    if not options.report:
        complete(folder, tasks, options.seeds, options.seconds)
    report(folder, tasks, options.seeds, options.seconds)


def complete(folder: Path, tasks: Sequence[CorpusTask], seeds: Sequence[int], seconds: float) -> None:
    """Run what has no result yet, a seed after the other."""
    cells = [(seed, place, task) for seed in seeds for place, task in enumerate(tasks)]
    missing = [cell for cell in cells if any(_read(folder, cell[2], cell[0], way) is None for way in SPECS)]
    if not missing:
        return
    os.environ["WARMSTART_SEED_KNOWLEDGE"] = "true"
    with running_stack() as stack:
        while not stack.client.knowledge()["shared"]["tasks"]:
            time.sleep(1)
        for seed, place, task in missing:
            for way in SPECS if (place + seed) % 2 else reversed(SPECS):
                if _read(folder, task, seed, way) is None:
                    run = _run(stack.client, task, seed, seconds, SPECS[way], _path(folder, task, seed, way))
                    print(f"{task.name:<24}seed {seed}  {way}  loss {run['loss']:.5g}", flush=True)


def _run(client: Client, task: CorpusTask, seed: int, seconds: float, spec: dict[str, str], path: Path) -> Run:
    parts = split(task, seed)
    prediction, details = warmstart(client, task, parts.train, parts.test, seconds, seed, parts.classes, **spec)
    job = client.job(client.model(details["model"])["job_id"])
    began = instant(job["started_at"])
    run: Run = {
        "loss": loss(task.kind, parts.test[task.target].to_numpy(), prediction, parts.classes),
        "score": details["score"],
        "seconds": details["seconds"],
        "trials": [
            {
                "at": (instant(trial["told_at"]) - began).total_seconds(),
                "loss": trial["loss"],
                "seconds": trial["seconds"],
                "learner": trial["learner"],
                "source": trial["source"],
            }
            for trial in client.trials(job["id"])
            if trial["loss"] is not None and Fidelity(**trial["fidelity"]).is_full
        ],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path.with_suffix(".npy"), prediction)
    path.write_text(json.dumps(run))
    return run


def report(folder: Path, tasks: Sequence[CorpusTask], seeds: Sequence[int], seconds: float) -> None:
    """A line a task: all of its seeds that both have run."""
    print(f"{'task':<24}{'cold':>11}{'warm':>11}{'sooner':>9}   loss of warm by loss of cold, 95 % interval")
    sooner: list[float] = []
    ratios: list[float] = []
    for task in tasks:
        done = [seed for seed in seeds if all(_read(folder, task, seed, way) for way in SPECS)]
        if not done:
            continue
        runs = [{way: _read(folder, task, seed, way) or {} for way in SPECS} for seed in done]
        times = [_sooner(run["cold"], run["warm"], seconds) for run in runs]
        drawn = np.mean([_bootstrap(folder, task, seed) for seed in done], axis=0)
        low, middle, high = np.quantile(drawn, [0.025, 0.5, 0.975])
        cold, warm = (np.mean([run[way]["loss"] for run in runs]) for way in SPECS)
        verdict = "WORSE" if low > 1 else "better" if high < 1 else ""
        spread = f"{middle:>8.3f} [{low:.3f}, {high:.3f}]"
        mean = np.exp(np.mean(np.log(times)))
        print(f"{task.name:<24}{cold:>11.5g}{warm:>11.5g}{mean:>7.2f} x{spread}  {verdict}", flush=True)
        sooner += times
        ratios.append(warm / max(cold, 1e-12))
    if sooner:
        logs = np.log(sooner)
        for name, middle_of in (("median", np.median), ("geometric mean", np.mean)):
            rng = np.random.default_rng(0)
            each = middle_of(logs[rng.integers(len(logs), size=(_BOOTSTRAP, len(logs)))], axis=1)
            low, high = np.exp(np.quantile(each, [0.025, 0.975]))
            print(f"sooner, {name}: {np.exp(middle_of(logs)):.2f} x [{low:.2f}, {high:.2f}], {len(logs)} pairs of jobs")
        print(f"loss of warm by loss of cold: geometric mean {np.exp(np.mean(np.log(ratios))):.4f}")


def _sooner(cold: Run, warm: Run, seconds: float) -> float:
    goal = min(trial["loss"] for trial in cold["trials"])
    reached = _when(cold, goal)
    assert reached is not None
    return reached / (_when(warm, goal) or _NEVER * seconds)


def _when(run: Run, goal: float) -> float | None:
    return min((trial["at"] for trial in run["trials"] if trial["loss"] <= goal + _CLOSE), default=None)


def _bootstrap(folder: Path, task: CorpusTask, seed: int) -> Array:
    """(resamples,) loss of warm by loss of cold."""
    parts = split(task, seed)
    truth = parts.test[task.target].to_numpy()
    cold, warm = (np.load(_path(folder, task, seed, way).with_suffix(".npy")) for way in SPECS)
    rng = np.random.default_rng(seed)
    ratios: list[float] = []
    while len(ratios) < _BOOTSTRAP // 4:
        rows = rng.integers(0, len(truth), len(truth))
        if parts.classes and len(set(truth[rows])) < 2:
            continue
        before, after = (loss(task.kind, truth[rows], part[rows], parts.classes) for part in (cold, warm))
        ratios.append(after / max(before, 1e-12))
    return np.array(ratios)


def _path(folder: Path, task: CorpusTask, seed: int, way: str) -> Path:
    return folder / f"{task.name}-{seed}" / f"{way}.json"


def _read(folder: Path, task: CorpusTask, seed: int, way: str) -> Run | None:
    path = _path(folder, task, seed, way)
    if not path.exists():
        return None
    run: Run = json.loads(path.read_text())
    return run


if __name__ == "__main__":
    main()
