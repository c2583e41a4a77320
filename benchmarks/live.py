"""What knowledge is worth in real jobs: the same job cold and warm through HTTP, on each task and seed.

    python -m benchmarks.live --seconds 60 --seeds 0 1 2
    python -m benchmarks.live --seconds 60 --seeds 0 1 2 --report

Cold is `knowledge: off`, warm is what the package ships; neither contributes. One service for all, the two jobs of a
task one after the other, every other task warm first. Each run is saved as it ends, and not run again. Printed is by
how much sooner the warm job's best trial has the validation loss that the cold job's best trial ends with, against the
moment at which cold had it; a warm job that never has it counts as if it had needed twice its budget. Then the loss of
the finished models on the test rows, and on which tasks a paired bootstrap over these rows, all seeds together, shows
that warm is worse (or better); what another run of the same job would come to is not in that interval.

`--keep` writes what was measured to `benchmarks/measured/live-<seconds>s.json`; what is there is not run again either.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.client import Client
from benchmarks.baselines import loss
from benchmarks.options import cells_parser
from benchmarks.quality import warmstart
from benchmarks.stack import instant, running_stack
from workers.corpus import CorpusTask, read_tasks, split
from workers.engine.types import Fidelity, TrialStatus

Array = NDArray[np.float64]
Run = dict[str, Any]

SPECS = {"cold": {"knowledge": "off"}, "warm": {"knowledge": "shared"}}
_MEASURED = Path(__file__).with_name("measured")
_NEVER = 2.0  # budgets, that a score which was never reached counts for
_BOOTSTRAP = 2_000
_RESAMPLES = 500
_Z95 = 1.96
_CLOSE = 1e-9
_FLOOR = 1e-3  # of the losses of both, added to either: a resample may have none


@dataclass(frozen=True)
class Pair:
    """A cold and a warm job on the same rows."""

    cold: float  #: loss on the test rows
    warm: float
    sooner: float  #: by what factor warm had the validation loss that cold ended with
    log_ratio: float  #: of losses on test rows, warm by cold: mean of the paired bootstrap
    error: float  #: its standard error


def main() -> None:
    """Run what is missing, then print the table."""
    parser = cells_parser(__doc__, out="results/live")
    options = parser.parse_args()
    cells = [(task, seed) for seed in options.seeds for task in read_tasks(options.split, options.tasks)]
    pairs = Pairs(options.out, options.seconds)
    if options.keep:
        pairs.keep(cells)
    elif not options.report:
        pairs.complete(cells)
    report({cell: pair for cell in cells if (pair := pairs.read(*cell)) is not None})


class Pairs:
    """The results of one budget under a folder: `<seconds>s/<task>-<seed>/{cold,warm}.{json,npy}`."""

    def __init__(self, folder: Path, seconds: float) -> None:
        self.folder, self.seconds = folder / f"{seconds:g}s", seconds
        self.measured = _MEASURED / f"live-{seconds:g}s.json"
        self._kept = json.loads(self.measured.read_text()) if self.measured.exists() else {}

    def read(self, task: CorpusTask, seed: int) -> Pair | None:
        """What was measured here, or is kept; None if nothing was."""
        runs = {way: self._read_run(task, seed, way) for way in SPECS}
        cold, warm = runs["cold"], runs["warm"]
        if cold is None or warm is None:
            kept = self._kept.get(f"{task.name}-{seed}")
            return None if kept is None else Pair(**kept)
        predictions = [np.load(self._path(task, seed, way).with_suffix(".npy")) for way in SPECS]
        logs = bootstrap(task, seed, *predictions)
        sooner = how_much_sooner(cold, warm, self.seconds)
        return Pair(cold["loss"], warm["loss"], sooner, float(logs.mean()), float(logs.std()))

    def keep(self, cells: Iterable[tuple[CorpusTask, int]]) -> None:
        """Write all that was measured to one file that is committed."""
        for task, seed in cells:
            if (pair := self.read(task, seed)) is not None:
                self._kept[f"{task.name}-{seed}"] = {key: float(f"{value:.6g}") for key, value in asdict(pair).items()}
        self.measured.write_text(json.dumps(self._kept, indent=1) + "\n")

    def complete(self, cells: Sequence[tuple[CorpusTask, int]]) -> None:
        """Run what has no result yet."""
        missing = [(place, cell) for place, cell in enumerate(cells) if not self._has(*cell)]
        if not missing:
            return
        with running_stack(WARMSTART_SEED_KNOWLEDGE="true") as stack:
            for place, (task, seed) in missing:
                for way in SPECS if place % 2 else reversed(SPECS):
                    if self._read_run(task, seed, way) is None:
                        run = _run(stack.client, task, seed, self.seconds, way, self._path(task, seed, way))
                        print(f"{task.name:<24}seed {seed}  {way}  loss {run['loss']:.5g}", flush=True)

    def _has(self, task: CorpusTask, seed: int) -> bool:
        is_here = all(self._path(task, seed, way).exists() for way in SPECS)
        return is_here or f"{task.name}-{seed}" in self._kept

    def _path(self, task: CorpusTask, seed: int, way: str) -> Path:
        return self.folder / f"{task.name}-{seed}" / f"{way}.json"

    def _read_run(self, task: CorpusTask, seed: int, way: str) -> Run | None:
        path = self._path(task, seed, way)
        if not path.exists():
            return None
        run: Run = json.loads(path.read_text())
        return run


def _run(client: Client, task: CorpusTask, seed: int, seconds: float, way: str, path: Path) -> Run:
    parts = split(task, seed)
    prediction, details = warmstart(client, task, parts.train, parts.test, seconds, seed, parts.classes, **SPECS[way])
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
                "status": trial["status"],
                "source": trial["source"],
            }
            for trial in client.trials(job["id"])
            if trial["status"] == TrialStatus.SUCCEEDED and Fidelity(**trial["fidelity"]).is_full
        ],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path.with_suffix(".npy"), prediction)
    path.write_text(json.dumps(run))
    return run


def report(pairs: Mapping[tuple[CorpusTask, int], Pair]) -> None:
    """A line a task, all of its seeds together; then all tasks."""
    print(f"{'task':<24}{'cold':>11}{'warm':>11}{'sooner':>9}   loss of warm by loss of cold, 95 % interval")
    for name in dict.fromkeys(task.name for task, _ in pairs):
        each = [pair for (task, _), pair in pairs.items() if task.name == name]
        cold, warm, log_ratio = (np.mean([getattr(one, key) for one in each]) for key in ("cold", "warm", "log_ratio"))
        error = _Z95 * np.sqrt(np.sum([one.error**2 for one in each])) / len(each)
        low, middle, high = np.exp([log_ratio - error, log_ratio, log_ratio + error])
        verdict = "WORSE" if low > 1 else "better" if high < 1 else ""
        sooner = np.exp(np.mean([np.log(one.sooner) for one in each]))
        spread = f"{middle:>8.3f} [{low:.3f}, {high:.3f}]"
        print(f"{name:<24}{cold:>11.5g}{warm:>11.5g}{sooner:>7.2f} x{spread}  {verdict}")
    if not pairs:
        return
    names = list(dict.fromkeys(task.name for task, _ in pairs))
    logs = np.array(
        [np.mean([np.log(pair.sooner) for (task, _), pair in pairs.items() if task.name == name]) for name in names]
    )
    for name, middle_of in (("median", np.median), ("geometric mean", np.mean)):
        rng = np.random.default_rng(0)
        drawn = middle_of(logs[rng.integers(len(logs), size=(_BOOTSTRAP, len(logs)))], axis=1)
        low, high = np.exp(np.quantile(drawn, [0.025, 0.975]))
        print(f"sooner, {name}: {np.exp(middle_of(logs)):.2f} x [{low:.2f}, {high:.2f}], {len(pairs)} pairs of jobs")
    losses = np.mean([np.log(max(pair.warm, _CLOSE) / max(pair.cold, _CLOSE)) for pair in pairs.values()])
    wins = sum(pair.warm < pair.cold for pair in pairs.values())
    print(f"loss of warm by loss of cold: geometric mean {np.exp(losses):.4f}; warm is better {wins} times")


def how_much_sooner(cold: Run, warm: Run, seconds: float) -> float:
    """Seconds of cold by seconds of warm until the loss of cold's best trial."""
    goal = min((trial["loss"] for trial in cold["trials"]), default=np.inf)
    reached = _when(cold, goal) or seconds
    return reached / (_when(warm, goal) or _NEVER * seconds)


def _when(run: Run, goal: float) -> float | None:
    return min((trial["at"] for trial in run["trials"] if trial["loss"] <= goal + _CLOSE), default=None)


def bootstrap(task: CorpusTask, seed: int, cold: Array, warm: Array) -> Array:
    """(resamples,) log of warm's loss by cold's, on resampled test rows."""
    parts = split(task, seed)
    truth = parts.test[task.target].to_numpy()
    rng = np.random.default_rng(seed)
    floor = _FLOOR * sum(loss(task.kind, truth, part, parts.classes) for part in (cold, warm))
    ratios: list[float] = []
    while len(ratios) < _RESAMPLES:
        rows = rng.integers(0, len(truth), len(truth))
        if parts.classes and len(set(truth[rows])) < 2:
            continue
        before, after = (loss(task.kind, truth[rows], part[rows], parts.classes) for part in (cold, warm))
        ratios.append(np.log((after + floor) / (before + floor)))
    return np.array(ratios)


if __name__ == "__main__":
    main()
