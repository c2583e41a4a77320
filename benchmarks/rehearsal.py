"""Whole searches rehearsed on recorded trials: does another order of proposals end in a better model, and how soon?

    python -m benchmarks.rehearsal --record 30
    python -m benchmarks.rehearsal --seconds 15 60
    python -m benchmarks.rehearsal --seconds 60 --set COLD_EVERY=2 --set OVERHEAD=0.8

`--record` spends so many minutes on tasks of the train split that the package's knowledge does not know, and that are
no replay group: every default and every configuration that the past would advise, on the folds that a job has, with
their out-of-fold predictions; it goes on where it stopped. A rehearsal asks `auto` for proposals, two at a time, each
taking the seconds that it took, until the share of the budget that is for trials is over. Then an ensemble is chosen on
one half of the rows and scored on the other, twice each way, as jobs choose theirs.

Printed for each way, over tasks and seeds (which jitter the seconds by some 15 %): loss by that of a cold search
(below 1: better) with its 95 % bootstrap interval over tasks, on how many tasks it is better, by how much sooner it has
the validation loss that the cold search's best trial ends with (one that never has it counts two budgets), and its
trials. A way is warm with the constants of `workers/engine/search/auto.py` as they are, or with some of them set.
"""

from __future__ import annotations

import argparse
import heapq
import json
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.knowledge.loading import SEED
from benchmarks.baselines import METRICS
from benchmarks.knowledge import read
from benchmarks.live import how_much_sooner
from workers.corpus import CorpusTask, read_frame, read_tasks, split
from workers.description import describe_task
from workers.engine.catalog import FOUNDATION, LEARNERS
from workers.engine.ensemble import blend, select
from workers.engine.evaluation.calibration import searched_loss
from workers.engine.evaluation.pool import warm_up
from workers.engine.evaluation.prepare import prepare
from workers.engine.evaluation.splits import make_splits
from workers.engine.fit import constant_loss, is_skewed
from workers.engine.learners.base import Size
from workers.engine.meta.embeddings import EMBEDDINGS
from workers.engine.meta.past import Past
from workers.engine.meta.recorded import RecordedSpace, RecordedTask, past_of
from workers.engine.search import auto
from workers.engine.search.base import SearchContext
from workers.engine.space import Space, canonical
from workers.engine.types import Configuration, Proposal, Task, TaskKind, Trial, TrialStatus
from workers.seed import evaluate, one_a_group_first

Array = NDArray[Any]
#: "trials" with a loss, in the order in which they ended, "at" seconds
Run = dict[str, Any]

_ROWS = (600, 40_000)
_WORKERS = 2
_LEAST_S = 0.3
_JITTER = 0.15  # deviation of log seconds
_STRANGERS = 12  # proposals in a row that were not recorded, after which a search has ended
_CANDIDATES = 40
_MOST_ROWS = 12_000
_FLOOR = 1e-3  # of a constant's loss: below, two models are alike
_RESAMPLES = 2_000
_NEAREST = 300


@dataclass(frozen=True)
class Recording:
    """Trials of one task, with what a search must know of it."""

    folder: Path
    kind: str
    rows: int
    columns: int
    classes: int
    n_folds: int
    is_skewed: bool
    constant_loss: float
    metafeatures: dict[str, float]
    trials: list[dict[str, Any]]  #: "number", "configuration", "loss" or None, "seconds"

    @classmethod
    def load(cls, folder: Path) -> Recording:
        """As `save` left it."""
        return cls(folder=folder, **json.loads((folder / "recording.json").read_text()))

    def save(self) -> None:
        """The last file of a recording: without it there is none."""
        about = {key: value for key, value in asdict(self).items() if key != "folder"}
        (self.folder / "recording.json").write_text(json.dumps(about))

    @property
    def size(self) -> Size:
        """Of its table."""
        return Size(rows=self.rows, columns=self.columns, classes=self.classes)

    @cached_property
    def y(self) -> Array:
        """(rows,) truth."""
        return np.asarray(np.load(self.folder / "y.npy", allow_pickle=False))

    @cached_property
    def by_configuration(self) -> dict[str, dict[str, Any]]:
        """By canonical text."""
        return {canonical(trial["configuration"]): trial for trial in self.trials}

    @cached_property
    def space(self) -> RecordedSpace:
        """Cut down to what was recorded."""
        whole = Space(LEARNERS, TaskKind(self.kind), self.size)
        return RecordedSpace(whole, [trial["configuration"] for trial in self.trials])

    def predictions(self, numbers: Sequence[int]) -> list[Array]:
        """Out-of-fold, each (rows, classes) or (rows,)."""
        loaded = [np.load(self.folder / f"{number}.npy", mmap_mode="r", allow_pickle=False) for number in numbers]
        return [each if self.kind != TaskKind.REGRESSION else each[:, 0] for each in loaded]


def main() -> None:
    """Record, or print what was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--record", type=float, metavar="MINUTES", help="record; start no task later")
    parser.add_argument("--tasks", nargs="*", help="only these")
    parser.add_argument("--seconds", type=float, nargs="*", default=[15.0, 60.0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--set", dest="ways", action="append", default=[], metavar="NAME=VALUE,...")
    parser.add_argument("--out", type=Path, default=Path("results/rehearsal"))
    options = parser.parse_args()
    seed_tasks, configurations = read(SEED)
    if options.record is not None:
        warm_up()
        until = time.monotonic() + 60 * options.record
        for task in choose({each.group for each in seed_tasks}, options.tasks):
            if time.monotonic() > until:
                break
            record(task, options.out / task.name, seed_tasks, configurations)
    recordings = [Recording.load(path.parent) for path in sorted(options.out.glob("*/recording.json"))]
    pasts = [past_for(one.kind, one.metafeatures, seed_tasks, configurations) for one in recordings]
    for seconds in options.seconds:
        report(recordings, pasts, seconds, range(options.seeds), options.ways)


def choose(known: set[str], names: Sequence[str] | None) -> Iterator[CorpusTask]:
    """Those that the knowledge does not know, of middling size, one a group first."""
    yield from one_a_group_first(
        task
        for task in read_tasks("train", names)
        if task.known_group not in known
        and not task.is_replay
        and task.unit is None
        and _ROWS[0] <= task.rows <= _ROWS[1]
    )


def past_for(
    kind: str,
    metafeatures: Mapping[str, float],
    tasks: Sequence[RecordedTask],
    configurations: Mapping[str, Configuration],
) -> Past:
    """What the package's knowledge says to a task, as a job would gather it."""
    embedding = EMBEDDINGS["metafeatures"].train(tasks)
    alike = [task for task in tasks if task.kind in TaskKind(kind).alike]
    point = embedding.embed(metafeatures)
    distances = np.array([np.linalg.norm(embedding.embed(task.metafeatures) - point) for task in alike])
    nearest = np.argsort(distances, kind="stable")[:_NEAREST]
    past = past_of([alike[place] for place in nearest], distances[nearest], configurations)
    assert past is not None
    return past


def record(
    task: CorpusTask, folder: Path, tasks: Sequence[RecordedTask], configurations: Mapping[str, Configuration]
) -> None:
    """Every default and all that the past knows, unless it was done."""
    if (folder / "recording.json").exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    started, kind = time.monotonic(), TaskKind(task.kind)
    with tempfile.TemporaryDirectory(prefix="ws-rehearsal-") as name:
        scratch = Path(name)
        table, target, _ = read_frame(split(task, 0).train, task.target, kind, scratch)
        asked = Task(target=task.target, kind=kind, metric=METRICS[task.kind], classes=target.classes)
        splits = make_splits(asked, target.y, None, None, is_short=False)
        prepared = prepare(scratch / "task", table, target.y, None, asked, splits)
        seen = describe_task(table, target.y, kind, target.classes, fingerprint="", group="").metafeatures
        space = Space([one for one in LEARNERS if one not in FOUNDATION], kind, prepared.size)
        advised = past_for(task.kind, seen, tasks, configurations).configurations
        wanted = {canonical(one): one for one in (*space.defaults(), *advised) if space.has(one)}
        proposals = [Proposal(configuration=one) for one in wanted.values()]
        trials = []
        for trial in evaluate(prepared, proposals, scratch / "trials", _WORKERS):
            is_whole = trial.status is TrialStatus.SUCCEEDED
            if is_whole:
                predictions = np.load(scratch / "trials" / f"trial_{trial.number}" / "oof.npy")
                np.save(folder / f"{trial.number}.npy", predictions.astype(np.float32))
            trials.append(
                {
                    "number": trial.number,
                    "configuration": dict(trial.proposal.configuration),
                    "loss": trial.loss if is_whole else None,
                    "seconds": trial.seconds,
                }
            )
        np.save(folder / "y.npy", np.asarray(prepared.y))
        Recording(
            folder=folder,
            kind=task.kind,
            **asdict(prepared.size),
            n_folds=len(splits.folds),
            is_skewed=is_skewed(prepared),
            constant_loss=constant_loss(prepared),
            metafeatures=dict(seen),
            trials=trials,
        ).save()
    print(f"{task.name:<24}{len(trials):>4} trials {time.monotonic() - started:6.0f} s", flush=True)


def rehearse(recording: Recording, past: Past | None, seconds: float, seed: int) -> Run:
    """A search by `auto`, two trials at a time."""
    search = auto.Auto(
        SearchContext(
            space=recording.space,
            size=recording.size,
            seed=seed,
            workers=_WORKERS,
            seconds=seconds,
            trials=None,
            n_folds=recording.n_folds,
            is_skewed=recording.is_skewed,
            past=None if past is None else past.within(recording.space),
            constant_loss=recording.constant_loss,
        )
    )
    rng = np.random.default_rng(seed)
    now, until, strangers, asked = 0.0, auto._SEARCH_SHARE * seconds, 0, 0
    running: list[tuple[float, int, Proposal, float]] = []  #: end, number, proposal, seconds
    done: list[dict[str, Any]] = []
    while True:
        while len(running) < _WORKERS and until - now > _LEAST_S and strangers < _STRANGERS:
            if (proposal := search.ask()) is None:
                strangers = _STRANGERS
                break
            asked += 1
            known = recording.by_configuration.get(canonical(proposal.configuration))
            if known is None or not proposal.fidelity.is_full:
                strangers += 1
                search.tell(Trial(number=asked, proposal=proposal, status=TrialStatus.FAILED))
                continue
            strangers = 0
            takes = known["seconds"] * float(np.exp(_JITTER * rng.normal()))
            heapq.heappush(running, (now + takes, asked, proposal, takes))
        if not running or running[0][0] > until:
            return {"trials": done}
        now, number, proposal, takes = heapq.heappop(running)
        trial = recording.by_configuration[canonical(proposal.configuration)]
        status = TrialStatus.FAILED if trial["loss"] is None else TrialStatus.SUCCEEDED
        search.tell(Trial(number=number, proposal=proposal, status=status, loss=trial["loss"], seconds=takes))
        if trial["loss"] is not None:
            done.append({**trial, "at": now})


def ensemble_loss(recording: Recording, run: Run) -> float:
    """Of ensembles chosen on one half of the rows and scored on the other."""
    best = sorted(run["trials"], key=lambda trial: trial["loss"])[:_CANDIDATES]
    if not best:
        return recording.constant_loss
    predictions = recording.predictions([trial["number"] for trial in best])
    is_known = np.all([~np.isnan(one if one.ndim == 1 else one[:, 0]) for one in predictions], axis=0)
    metric, y, losses = METRICS[recording.kind], recording.y, []
    for repeat in range(2):
        rows = np.random.default_rng(repeat).permutation(np.flatnonzero(is_known))[:_MOST_ROWS]
        halves = np.array_split(rows, 2)
        for chosen_on, scored_on in (halves, halves[::-1]):
            picked = select(
                METRICS[recording.kind], y[chosen_on], [one[chosen_on].astype(float) for one in predictions]
            )
            blended = blend([one[scored_on].astype(float) for one in predictions], picked.weights)
            losses.append(searched_loss(metric, y[scored_on], blended, None))
    return max(float(np.mean(losses)), _FLOOR * recording.constant_loss)


def report(
    recordings: Sequence[Recording], pasts: Sequence[Past], seconds: float, seeds: Sequence[int], ways: Sequence[str]
) -> None:
    """A line a way."""
    print(f"\n{len(recordings)} tasks, {seconds:g} s\n{'':<32}{'loss by cold':>13}{'95 %':>19}{'better':>8}", end="")
    print(f"{'sooner':>9}{'trials':>8}")
    cells = [(place, seed) for place in range(len(recordings)) for seed in seeds]
    cold = [rehearse(recordings[place], None, seconds, seed) for place, seed in cells]
    cold_losses = [ensemble_loss(recordings[place], run) for (place, _), run in zip(cells, cold, strict=True)]
    for way in ("", *ways):
        with constants(way):
            runs = [rehearse(recordings[place], pasts[place], seconds, seed) for place, seed in cells]
        losses = [ensemble_loss(recordings[place], run) for (place, _), run in zip(cells, runs, strict=True)]
        logs = np.log(np.array(losses) / cold_losses).reshape(len(recordings), -1).mean(axis=1)
        sooner = np.mean([np.log(how_much_sooner(*pair, seconds)) for pair in zip(cold, runs, strict=True)])
        drawn = np.random.default_rng(0).choice(logs, (_RESAMPLES, len(logs))).mean(axis=1)
        low, high = np.exp(np.quantile(drawn, [0.025, 0.975]))
        print(
            f"{way or 'warm':<32}{np.exp(logs.mean()):>13.4f}{f'{low:.4f} to {high:.4f}':>19}{(logs < 0).sum():>8}"
            f"{np.exp(sooner):>9.2f}{np.mean([len(run['trials']) for run in runs]):>8.1f}",
            flush=True,
        )


@contextmanager
def constants(way: str) -> Iterator[None]:
    """Of `auto`, some of them set: "NAME=VALUE,OTHER=VALUE"; "" leaves all as they are."""
    wanted = dict(each.split("=") for each in way.split(",") if each)
    before = {name: getattr(auto, f"_{name}") for name in wanted}
    try:
        for name, value in wanted.items():
            setattr(auto, f"_{name}", type(before[name])(value))
        yield
    finally:
        for name, value in before.items():
            setattr(auto, f"_{name}", value)


if __name__ == "__main__":
    main()
