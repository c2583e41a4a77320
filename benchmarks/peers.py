"""Warmstart against AutoGluon, H2O AutoML, FLAML and default CatBoost, back to back on each task.

    make bench-peers-install
    python -m benchmarks.peers --seconds 60 --seeds 0
    python -m benchmarks.peers --seconds 60 --seeds 0 --report
    python -m benchmarks.peers --report --kept --systems warmstart_warm@15 autogluon_best autogluon_medium h2o

Same rows (75/25), cores (all of this machine, meant for two) and budget for all; one system at a time, nothing else
beside it. Warmstart runs as a fresh service, `warmstart` with knowledge off and `warmstart_warm` with what the package
ships, neither contributing; it is asked over HTTP, training time being
that of the job from submission to the committed end; a rival runs in a process of its own (`benchmarks/peer.py` has
its settings), its imports not counted. Every result is saved as it comes, with the test predictions beside it; what
is there is not run again. Loss: 1 - AUC, log loss, RMSE. A system that fails ranks last and is counted.

`--keep` writes what was measured, without predictions, to a file under `benchmarks/measured`, of which `--report
--kept` prints the table: hours of rivals need not run again to see where we stand. Kept figures are of one machine.
In a report `system@15` is what a system came to when it was given 15 s.

With `--rows 200` all get so many of the training rows, stratified, and `warmstart_plain` is ours without the learners
that have learned to learn:

    python -m benchmarks.peers --rows 200 --seconds 10 --systems warmstart warmstart_plain
    python -m benchmarks.peers --rows 200 --seconds 60 --systems autogluon_best h2o
    python -m benchmarks.peers --rows 200 --seconds 10 --report --systems warmstart warmstart_plain h2o@60
"""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from functools import cache
from itertools import product
from os import killpg
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import rankdata

from app.client import ClientError
from benchmarks.baselines import loss
from benchmarks.fewshot import support
from benchmarks.made import as_rows
from benchmarks.memory import PeakMemory
from benchmarks.options import cells_parser
from benchmarks.quality import US, warmstart
from benchmarks.stack import running_stack
from workers.corpus import CorpusTask, Split, read_tasks, split
from workers.engine.catalog import READERS

PEERS = ("autogluon_best", "autogluon_medium", "h2o", "flaml", "catboost")
WARM, PLAIN = "warmstart_warm", "warmstart_plain"
OURS: dict[str, dict[str, Any]] = {
    US: {},
    WARM: {"knowledge": "shared"},
    PLAIN: {"algorithms": {"exclude": list(READERS)}},
}
SYSTEMS = (*OURS, *PEERS)
_PYTHON = Path(".venv-peers/bin/python")
_MEASURED = Path(__file__).with_name("measured")
_KEPT = ("loss", "seconds", "waited_s", "predict_1000_s", "peak_mb", "trials")
_WARM_S = 5.0  # for the worker to warm its first runner, as on any service that is up
_RESAMPLES = 500
_LEAST = 1e-12  # loss

Result = dict[str, Any]  #: "loss", "seconds", "predict_1000_s", "peak_mb"; or "error"


def main() -> None:
    """Run what is missing, then print the table."""
    parser = cells_parser(__doc__, out="results/peers")
    parser.add_argument("--systems", nargs="*", default=[US, *PEERS], type=_system)
    parser.add_argument("--rows", type=int, help="of the training part; all, if it is not said")
    parser.add_argument("--kept", action="store_true", help="where nothing was run here, read benchmarks/measured")
    options = parser.parse_args()
    tasks = list(read_tasks(options.split, options.tasks))
    runs = Runs(options.out, options.seconds, options.rows, is_kept=options.kept)
    if options.keep:
        runs.keep(tasks, options.seeds)
        return
    if not options.report:
        for seed in options.seeds:
            for task in tasks:
                runs.complete(task, seed, [system for system in options.systems if "@" not in system])
    report(runs, tasks, options.seeds, options.systems)


def _system(text: str) -> str:
    name, _, seconds = text.partition("@")
    if name not in SYSTEMS:
        raise argparse.ArgumentTypeError(f"no system {name!r}; there are {', '.join(SYSTEMS)}")
    return f"{name}@{float(seconds):g}" if seconds else name


class Runs:
    """The results of one budget under a folder: `<seconds>s[-<rows>rows]/<task>-<seed>/<system>.json` and `.npy`."""

    def __init__(self, folder: Path, seconds: float, rows: int | None = None, *, is_kept: bool = False) -> None:
        self._given = cache(lambda others: Runs(folder, others, rows, is_kept=is_kept))
        name = f"{seconds:g}s" if rows is None else f"{seconds:g}s-{rows}rows"
        self.folder, self.seconds, self.rows = folder / name, seconds, rows
        self.measured = _MEASURED / f"{name}.json"
        kept = is_kept and self.measured.exists()
        self._kept: dict[str, dict[str, Result]] = json.loads(self.measured.read_text()) if kept else {}

    def read(self, task: CorpusTask, seed: int, system: str) -> Result | None:
        """What was measured; None if nothing was."""
        name, _, given = system.partition("@")
        if given:
            return self._given(float(given)).read(task, seed, name)
        path = self._path(task, seed, system, "json")
        if path.exists():
            result: Result = json.loads(path.read_text())
            return result
        return self._kept.get(f"{task.name}-{seed}", {}).get(system)

    def keep(self, tasks: Iterable[CorpusTask], seeds: Iterable[int]) -> None:
        """Write all that was measured to one file that is committed."""
        kept: dict[str, dict[str, Result]] = {}
        for task, seed in product(tasks, seeds):
            each = {system: self.read(task, seed, system) for system in SYSTEMS}
            kept[f"{task.name}-{seed}"] = {
                system: {key: result[key] for key in _KEPT if key in result} | _without_details(result)
                for system, result in each.items()
                if result is not None
            }
        self.measured.parent.mkdir(exist_ok=True)
        self.measured.write_text(json.dumps({cell: found for cell, found in kept.items() if found}, indent=1) + "\n")

    def has_prediction(self, task: CorpusTask, seed: int, system: str) -> bool:
        """Whether test predictions lie here."""
        return self._path(task, seed, system, "npy").exists()

    def prediction(self, task: CorpusTask, seed: int, system: str) -> np.ndarray:
        """Of the test rows."""
        return np.asarray(np.load(self._path(task, seed, system, "npy"), allow_pickle=False))

    def parts(self, task: CorpusTask, seed: int) -> Split:
        """What is trained on, and what is asked."""
        parts = split(task, seed)
        if self.rows is None or self.rows >= len(parts.train):
            return parts
        y = parts.train[task.target].to_numpy()
        order = np.random.default_rng(seed).permutation(len(y))
        codes = np.unique(y, return_inverse=True)[1] if parts.classes else y
        return replace(parts, train=parts.train.iloc[support(order, codes, self.rows, len(parts.classes))])

    def complete(self, task: CorpusTask, seed: int, systems: Iterable[str]) -> None:
        """Run the systems that have no result yet, unless the rows are too few for two of every class."""
        missing = [system for system in systems if self.read(task, seed, system) is None]
        if not missing:
            return
        parts = self.parts(task, seed)
        if len(parts.train) < 2 * len(parts.classes):
            return
        for system in missing:
            prediction, result = self._run(system, task, parts, seed)
            path = self._path(task, seed, system, "json")
            path.parent.mkdir(parents=True, exist_ok=True)
            if prediction is not None and len(prediction) != len(parts.test):
                result = {"error": f"WrongSize: {len(prediction)} predictions of {len(parts.test)} rows"}
                prediction = None
            if prediction is not None:
                np.save(path.with_suffix(".npy"), prediction)
                truth = parts.test[task.target].to_numpy()
                result["loss"] = loss(task.kind, truth, prediction, parts.classes)
            path.write_text(json.dumps(result))
            print(f"{task.name:<24}seed {seed}  {system:<18}{_line(result)}", flush=True)

    def _run(self, system: str, task: CorpusTask, parts: Split, seed: int) -> tuple[np.ndarray | None, Result]:
        if system in OURS:
            return run_warmstart(task, parts, self.seconds, seed, **OURS[system])
        return run_peer(system, task, parts, self.seconds, seed)

    def _path(self, task: CorpusTask, seed: int, system: str, suffix: str) -> Path:
        return self.folder / f"{task.name}-{seed}" / f"{system}.{suffix}"


def run_warmstart(
    task: CorpusTask, parts: Split, seconds: float, seed: int, **spec: Any
) -> tuple[np.ndarray | None, Result]:
    """A fresh service, one job, its model's predictions."""
    with running_stack() as stack:
        time.sleep(_WARM_S)
        with PeakMemory(stack.pid) as memory:
            try:
                prediction, details = warmstart(
                    stack.client, task, parts.train, parts.test, seconds, seed, parts.classes, **spec
                )
            except (RuntimeError, ClientError) as error:
                return None, {"error": str(error)}
            places = np.resize(np.arange(len(parts.test)), 1000)
            rows = as_rows(parts.test.iloc[places].drop(columns=task.target))
            started = time.monotonic()
            stack.client.predict(details["model"], rows)
            took = time.monotonic() - started
        return prediction, {**details, "predict_1000_s": took, "peak_mb": memory.peak_mb}


def run_peer(
    system: str, task: CorpusTask, parts: Split, seconds: float, seed: int
) -> tuple[np.ndarray | None, Result]:
    """A rival in its own process and Python; ended when it takes five times its budget and two minutes."""
    with tempfile.TemporaryDirectory(prefix="ws-peer-") as name:
        folder = Path(name)
        parts.train.to_parquet(folder / "train.parquet", index=False)
        parts.test.drop(columns=task.target).to_parquet(folder / "test.parquet", index=False)
        about = {"target": task.target, "kind": task.kind, "classes": parts.classes, "budget_s": seconds, "seed": seed}
        (folder / "task.json").write_text(json.dumps(about))
        command = [str(_PYTHON.absolute()), "-m", "benchmarks.peer", system, name]
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
            )
        try:
            with PeakMemory(process.pid) as memory:
                code = process.wait(5 * seconds + 120)
        except subprocess.TimeoutExpired:
            return None, {"error": "did not end"}
        finally:
            with suppress(ProcessLookupError):
                killpg(process.pid, signal.SIGKILL)
            process.wait()
        if code or not (folder / "peer.json").exists():
            return None, {"error": (folder / "log").read_text(errors="replace")[-2000:]}
        result: Result = json.loads((folder / "peer.json").read_text()) | {"peak_mb": memory.peak_mb}
        return np.load(folder / "prediction.npy", allow_pickle=False), result


def report(runs: Runs, tasks: list[CorpusTask], seeds: list[int], systems: list[str]) -> None:
    """Losses and ranks by task, then each system's means; only what all systems have run."""
    rows: list[tuple[str, list[Result]]] = []
    for task in tasks:
        for seed in seeds:
            each = [runs.read(task, seed, system) for system in systems]
            if all(result is not None for result in each):
                rows.append((f"{task.name} {seed}", [result for result in each if result is not None]))
    if not rows:
        print("nothing has been run by all systems")
        return
    losses = np.array([[result.get("loss", np.inf) for result in results] for _, results in rows])
    ranks = rankdata(losses, axis=1)
    head = f"{'':<28}" + "".join(f"{system:>19}" for system in systems)
    print(head)
    for (name, _), values, places in zip(rows, losses, ranks, strict=True):
        print(f"{name:<28}" + "".join(f"{v:>13.5g} ({p:3.1f})" for v, p in zip(values, places, strict=True)))
    print(f"\n{head}")
    limit = 1.05 * runs.seconds + 1
    figures = {"mean rank": ranks.mean(axis=0), "failures": np.isinf(losses).sum(axis=0)}
    seconds, predict, peak = (_measured(rows, key) for key in ("seconds", "predict_1000_s", "peak_mb"))
    figures |= {"seconds, mean": np.nanmean(seconds, axis=0), "seconds, most": np.nanmax(seconds, axis=0)}
    figures |= {f"later than {limit:g} s": (seconds > limit).sum(axis=0)}
    figures |= {"1,000 rows predicted, median": np.nanmedian(predict, axis=0), "peak MB": np.nanmax(peak, axis=0)}
    for label, each_system in figures.items():
        print(f"{label:<28}" + "".join(f"{value:>19.4g}" for value in each_system))
    for ours in (place for place, system in enumerate(systems) if system.partition("@")[0] in OURS):
        for place in (place for place in range(len(systems)) if place != ours):
            mine, theirs = losses[:, ours], losses[:, place]
            ended = np.isfinite(mine) & np.isfinite(theirs)
            logs = np.log(np.maximum(mine[ended], _LEAST) / np.maximum(theirs[ended], _LEAST))
            print(
                f"{systems[ours]} is better than {systems[place]} on {np.sum(mine < theirs)} of {len(rows)};"
                f" {np.exp(logs.mean()):.3f} times its loss, standard error {logs.std() / np.sqrt(len(logs)):.3f}"
            )
    if US in systems and "catboost" in systems:
        report_losses(runs, tasks, seeds)


def _measured(rows: list[tuple[str, list[Result]]], key: str) -> np.ndarray:
    """(runs, systems) of one figure; NaN where a system failed."""
    return np.array([[result.get(key, np.nan) for result in results] for _, results in rows])


def report_losses(runs: Runs, tasks: list[CorpusTask], seeds: list[int]) -> None:
    """Tasks where the paired bootstrap over test rows shows a loss of more than 2 % against default CatBoost."""
    for task in tasks:
        done = [seed for seed in seeds if _has_loss(runs, task, seed)]
        if not done:
            continue
        ratios = np.mean([_bootstrap(runs, task, seed) for seed in done], axis=0)
        low, high = np.quantile(ratios, [0.025, 0.975])
        if low > 1.02:
            print(f"significantly worse than catboost: {task.name}: {low:.3f} to {high:.3f} times its loss")


def _has_loss(runs: Runs, task: CorpusTask, seed: int) -> bool:
    return all(runs.has_prediction(task, seed, system) for system in (US, "catboost"))


def _bootstrap(runs: Runs, task: CorpusTask, seed: int) -> np.ndarray:
    """(resamples,) our loss by CatBoost's."""
    parts = split(task, seed)
    truth = parts.test[task.target].to_numpy()
    ours, theirs = (runs.prediction(task, seed, system) for system in (US, "catboost"))
    rng = np.random.default_rng(seed)
    ratios = []
    for _ in range(_RESAMPLES):
        rows = rng.integers(0, len(truth), len(truth))
        if len(parts.classes) == 2 and len(set(truth[rows])) < 2:
            continue
        mine, other = (loss(task.kind, truth[rows], part[rows], parts.classes) for part in (ours, theirs))
        ratios.append(mine / max(other, _LEAST))
    return np.resize(np.array(ratios), _RESAMPLES)


def _without_details(result: Result) -> Result:
    """Of an error only its name: what a process said may name this machine's folders."""
    return {"error": result["error"].strip().splitlines()[-1].partition(":")[0]} if "error" in result else {}


def _line(result: Result) -> str:
    if "error" in result:
        return f"failed: {result['error'].strip().splitlines()[-1]}"
    return (
        f"{result['loss']:>11.5g}  {result['seconds']:6.1f} s  1,000 rows {result['predict_1000_s']:.2f} s"
        f"  {result['peak_mb']:6.0f} MB"
    )


if __name__ == "__main__":
    main()
