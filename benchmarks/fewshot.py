"""Few rows: the learners that have learned to learn against ordinary ones; a picture too.

    python -m benchmarks.fewshot                                  # the 24 bench tasks, ten draws: hours; resumes
    python -m benchmarks.fewshot --report --draws 3               # what was measured last
    python -m benchmarks.fewshot --split train --draws 2          # to develop on: tasks that nobody practised on
    python -m benchmarks.fewshot --sizes 1000 3000 --draws 1 --learners in_context random_forest

Every task at 10, 20, 50, 100 and 200 training rows, stratified, at least two of every class and only where the rows are
twice the classes (of more than 200 rows a task takes as many as it has); at most 500 test rows from a quarter that the
draw does not train on; where rows repeat by a unit, no unit is on both sides. Ours run as a trial runs them, at their
first configuration. Against them: logistic or ridge regression whose penalty is cross-validated, k nearest neighbours,
SVM, random forest and CatBoost, at their libraries' defaults, numbers standardised and categories one-hot where that is
the custom. `*_unpractised` is the same network with weights as they are before any practice.

Scores are AUC (one against the rest, the mean over classes) and R2, the latter at least -1. Printed are mean rank and
mean score by training rows with 95 % intervals over tasks, and what practice is worth: the mean difference of score
between a learner and itself before practice.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache
from itertools import product
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.ordinary import ENCODINGS, answer
from workers.corpus import CorpusTask, load, read_frame, read_tasks
from workers.engine.catalog import READERS, get_learner
from workers.engine.evaluation.metrics import score
from workers.engine.learners.base import FitContext
from workers.engine.meta import reading
from workers.engine.preprocessing.fit import fit_encoder
from workers.engine.space import Space
from workers.engine.types import TaskKind

Array = NDArray[Any]

SIZES = (10, 20, 50, 100, 200)
OURS = READERS
UNPRACTISED = tuple(f"{name}_unpractised" for name in OURS)
RIVALS = tuple(ENCODINGS)
_TEST_SHARE, _MOST_TEST = 0.25, 500
_MOST_ROWS = 40_000  # of a table that are read
_BOOTSTRAP = 2_000
_KEPT = Path(__file__).with_name("measured") / "fewshot.json"


def main() -> None:
    """Run the cells that are missing, print, draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--split", default="bench", choices=["bench", "train"])
    parser.add_argument("--tasks", nargs="*", help="only these")
    parser.add_argument("--draws", type=int, default=10)
    parser.add_argument("--sizes", type=int, nargs="*", default=SIZES, help="training rows")
    parser.add_argument("--learners", nargs="*", default=[*OURS, *UNPRACTISED, *RIVALS])
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("results/fewshot"))
    parser.add_argument("--report", action="store_true", help="run nothing")
    parser.add_argument("--keep", action="store_true", help="run nothing; write what there is to benchmarks/measured")
    parser.add_argument("--picture", type=Path, help="draw it there")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    tasks = [task for task in read_tasks(options.split, options.tasks) if not task.teaches_learners]
    if options.keep:
        keep(options.out, tasks)
    if not options.report and not options.keep:
        for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
            os.environ[name] = "1"  # for the processes that follow
        with ProcessPoolExecutor(options.processes, get_context("spawn")) as pool:
            asked = options.draws, options.sizes, options.learners, options.out
            jobs = [pool.submit(run, task, *asked) for task in tasks]
            for task, job in zip(tasks, jobs, strict=True):
                print(f"{task.name}: {job.result()} cells", flush=True)
    cells = read(options.out, [task.name for task in tasks], options.draws, options.sizes, options.learners)
    report(cells, options.learners)
    if options.picture:
        draw(cells, options.learners, options.picture)


def run(task: CorpusTask, draws: int, sizes: Sequence[int], learners: Sequence[str], folder: Path) -> int:
    """The task's missing scores, saved as they come; how many there are."""
    path, kept = folder / f"{task.name}.json", known(folder, task.name)
    table: Table | None = None
    for number, size in product(range(draws), sizes):
        wanted = [name for name in learners if f"{number} {size} {labelled(name)}" not in kept]
        if not wanted:
            continue
        table = table or read_table(task)
        kept |= scores(table, number, size, wanted)
        partial = path.with_suffix(".partial")
        partial.write_text(json.dumps(kept))
        partial.replace(path)
    return len(kept)


def known(folder: Path, task: str) -> dict[str, float]:
    """The task's scores, from the folder or as they were kept; keys are draw, size and learner."""
    path = folder / f"{task}.json"
    if path.exists():
        return json.loads(path.read_text())  # type: ignore[no-any-return]
    return json.loads(_KEPT.read_text()).get(task, {}) if _KEPT.exists() else {}


def keep(folder: Path, tasks: Sequence[CorpusTask]) -> None:
    """All scores as one file, of the weights that ship."""
    current = {labelled(name) for name in (*OURS, *UNPRACTISED, *RIVALS)}
    found = {
        task.name: {
            key: round(value, 4) for key, value in sorted(known(folder, task.name).items()) if key.split()[2] in current
        }
        for task in tasks
    }
    _KEPT.write_text(json.dumps(found, indent=0, sort_keys=True) + "\n")


@cache
def labelled(name: str) -> str:
    """A learner's name in keys: ours with a digest of weights and configuration, and its revision.

    Scores of others are stale.
    """
    if name in RIVALS:
        return name
    own = name.removesuffix("_unpractised")
    learner = get_learner(own)
    if name in UNPRACTISED:
        tensors = _unpractised(own)[1]
        weights = b"".join(np.ascontiguousarray(tensors[key]).tobytes() for key in sorted(tensors))
    else:
        weights = Path(reading.__file__).with_name(f"{own}_1.safetensors").read_bytes()
    configuration = json.dumps(learner.defaults[0], sort_keys=True).encode()
    return f"{name}@{hashlib.sha256(weights + configuration).hexdigest()[:8]}.{learner.revision}"


@dataclass(frozen=True)
class Table:
    """A task as the engine has it."""

    kind: TaskKind
    classes: int
    schema: Any
    columns: Mapping[str, Array]
    y: Array
    units: Array | None  #: what rows repeat by

    def rows(self, chosen: Array) -> dict[str, Array]:
        """Some rows of every column."""
        return {name: values[chosen] for name, values in self.columns.items()}


def read_table(task: CorpusTask) -> Table:
    """By the road that an upload takes."""
    frame, kind = load(task, with_unit=True), TaskKind(task.kind)
    if len(frame) > _MOST_ROWS:
        frame = frame.sample(_MOST_ROWS, random_state=0)
    with tempfile.TemporaryDirectory() as folder:
        table, target, units = read_frame(frame, task.target, kind, Path(folder), task.unit)
        columns = {name: np.array(values) for name, values in table.columns.items()}
    return Table(kind, len(target.classes or ()), table.schema, columns, np.array(target.y), units)


def scores(table: Table, number: int, size: int, learners: Sequence[str]) -> dict[str, float]:
    """Of one draw, nothing where the task has too few rows; keys are draw, size and learner."""
    rng = np.random.default_rng(number)
    order = rng.permutation(len(table.y))
    units = np.arange(len(order)) if table.units is None else table.units
    drawn = np.unique(units)
    is_held = np.isin(units, rng.permutation(drawn)[: max(1, round(_TEST_SHARE * len(drawn)))])[order]
    test, train = order[is_held][:_MOST_TEST], order[~is_held]
    if min(size, SIZES[-1]) > len(train) or size < 2 * table.classes:
        return {}
    rows = support(train, table.y, min(size, len(train)), table.classes)
    found = {}
    for name in learners:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            said = predict(name, table, rows, test)
        y = table.y[test]
        value = score("roc_auc", y, said) if table.classes else max(-1.0, score("r2", y, said))
        found[f"{number} {size} {labelled(name)}"] = float(value)
    return found


def support(train: Array, y: Array, size: int, classes: int) -> Array:
    """The first rows of a random order, each class in proportion and at least twice (once, where it has no more)."""
    if not classes:
        return np.asarray(train[:size])
    counts = np.bincount(y[train], minlength=classes)
    wanted = np.minimum(np.maximum(np.floor(size * counts / len(train)), 2), counts).astype(int)
    while wanted.sum() > size:
        wanted[wanted.argmax()] -= 1
    places = np.concatenate([np.flatnonzero(y[train] == label)[:count] for label, count in enumerate(wanted)])
    rest = np.setdiff1d(np.arange(len(train)), places)[: size - len(places)]
    return np.asarray(train[np.sort(np.concatenate([places, rest]))])


def predict(name: str, table: Table, rows: Array, test: Array) -> Array:
    """Probabilities (n, classes), or values, of the test rows by a learner that saw the others."""
    y = table.y[rows]
    options = ENCODINGS[name] if name in ENCODINGS else _configuration(name.removesuffix("_unpractised"), table.kind)
    encoder, X = fit_encoder(options, table.schema, table.rows(rows), y, table.kind, table.classes, 0)
    asked = encoder.transform(table.rows(test))
    if name in RIVALS:
        return answer(name, X, y, asked, table.classes, list(encoder.categorical))
    context = FitContext(
        kind=table.kind,
        n_classes=table.classes,
        n_rows=len(rows),
        n_columns=X.shape[1],
        categorical=tuple(encoder.categorical),
        threads=1,
        seed=0,
        metric="log_loss" if table.classes else "rmse",
    )
    if name in UNPRACTISED:
        from workers.engine.learners.reading import Reading

        estimator: Any = Reading(name.removesuffix("_unpractised"), options, context, shipped=_unpractised)
    else:
        estimator = get_learner(name).build({k: v for k, v in options.items() if k != "learner"}, context)
    estimator.fit(X, y)
    return np.asarray(estimator.predict_proba(asked) if table.classes else estimator.predict(asked))


@cache
def _unpractised(name: str) -> Any:
    """Weights as they are before practice."""
    import torch

    from workers.engine.meta.reading.training import KINDS, as_shipped

    torch.manual_seed(0)
    return as_shipped(KINDS[name].network(**KINDS[name].shape))


def _configuration(name: str, kind: TaskKind) -> Mapping[str, Any]:
    return Space([name], kind).defaults()[0]


def read(
    folder: Path, tasks: Sequence[str], draws: int, sizes: Sequence[int], learners: Sequence[str]
) -> dict[int, Array]:
    """By training rows: (tasks, draws, learners), NaN where there is none."""
    cells = {size: np.full((len(tasks), draws, len(learners)), np.nan) for size in sizes}
    for place, task in enumerate(tasks):
        kept = known(folder, task)
        for size, number, (at, name) in (
            (size, number, one) for size in sizes for number in range(draws) for one in enumerate(learners)
        ):
            cells[size][place, number, at] = kept.get(f"{number} {size} {labelled(name)}", np.nan)
    return cells


def report(cells: Mapping[int, Array], learners: Sequence[str]) -> None:
    """A table a number of rows."""
    for size, values in cells.items():
        whole = np.asarray(np.isfinite(values).all(axis=2))
        values = np.where(whole[:, :, None], values, np.nan)
        values = values[np.any(whole, axis=1)]
        if not len(values):
            continue
        ranks = np.where(np.isnan(values), np.nan, _ranks(values))
        print(f"\n{size} rows, {len(values)} tasks, {int(whole.sum())} draws")
        print(f"  {'':24}{'rank':>6}{'':16}{'score':>7}")
        by_task = [np.nanmean(part, axis=1) for part in (ranks, values)]  # (tasks, learners)
        for place in np.argsort(by_task[0].mean(axis=0)):
            said = [f"{part[:, place].mean():6.3f} {_interval(part[:, place])}" for part in by_task]
            print(f"  {learners[place]:24}{'  '.join(said)}")
        for place, name in enumerate(learners):
            if (before := f"{name}_unpractised") in learners:
                gain = by_task[1][:, place] - by_task[1][:, list(learners).index(before)]
                print(f"  practice of {name}: {gain.mean():+.3f} {_interval(gain)}")


def _ranks(values: Array) -> Array:
    """1 is the best; ties share."""
    better = (values[..., None, :] > values[..., :, None]).sum(axis=-1)
    same = (values[..., None, :] == values[..., :, None]).sum(axis=-1)
    return np.asarray(better + (same + 1) / 2)


def _interval(values: Array) -> str:
    rng = np.random.default_rng(0)
    drawn = values[rng.integers(len(values), size=(_BOOTSTRAP, len(values)))].mean(axis=1)
    low, high = np.quantile(drawn, [0.025, 0.975])
    return f"[{low:.3f}, {high:.3f}]"


def draw(cells: Mapping[int, Array], learners: Sequence[str], picture: Path) -> None:
    """Mean score and mean rank by training rows, of tasks that every size has."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "fewshot"  # the same picture from the same figures
    from matplotlib import pyplot

    everywhere = np.all([np.isfinite(values).all(axis=(1, 2)) for values in cells.values()], axis=0)
    figure, panels = pyplot.subplots(1, 2, figsize=(9, 3.6))
    for place, name in enumerate(learners):
        is_ours = name in OURS
        style = {"lw": 2.5 if is_ours else 1.2, "ls": ":" if name in UNPRACTISED else "-", "label": name}
        values = [part[everywhere][..., place].mean() for part in cells.values()]
        ranks = [_ranks(part[everywhere])[..., place].mean() for part in cells.values()]
        panels[0].plot(list(cells), values, marker=".", **style)
        panels[1].plot(list(cells), ranks, marker=".", **style)
    panels[0].set(xscale="log", xlabel="training rows", ylabel="AUC or R2", title="mean score")
    panels[1].set(xscale="log", xlabel="training rows", title="mean rank")
    panels[1].invert_yaxis()
    panels[0].legend(fontsize=7)
    for panel in panels:
        panel.set_xticks(list(cells), [str(size) for size in cells])
    figure.tight_layout()
    picture.parent.mkdir(exist_ok=True)
    figure.savefig(picture, metadata={"Date": None})


if __name__ == "__main__":
    main()
