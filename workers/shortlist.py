"""Which configurations all seed tasks should try beside the first ones: chosen among many, on a few tasks.

    python -m workers.shortlist data/shortlist --seed-folder data/seed

Candidates are random configurations and neighbours of defaults, of the learners that win tables. Each is evaluated on
a few tasks of the train split, none of a replay group, as `workers/seed.py` evaluates. Then portfolios are built
greedily from all that is known of these tasks, one after another until enough candidates are in one, and written to
`workers/shortlist.json`, from where the seed takes them. Saves as it goes, and goes on from there.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from workers.corpus import CorpusTask, load, read_tasks
from workers.engine.evaluation.pool import warm_up
from workers.engine.meta.evaluations import TELLS_NOTHING
from workers.engine.meta.leading import SORTS
from workers.engine.meta.past import OFFSET, WORST
from workers.engine.meta.portfolio import greedy_portfolio
from workers.engine.space import Space, canonical
from workers.engine.types import Configuration, Proposal, Source, TaskKind
from workers.seed import FIRST, SHORTLIST, TOLD_OF, build, first_ones, is_current, one_a_group_first, read_lines

Array = NDArray[np.float64]

#: Candidates of each learner: more of those that win most, and of those that are cheap for what they win.
CANDIDATES: Mapping[str, int] = {
    "catboost": 24,
    "lightgbm": 24,
    "network": 8,
    "extra_trees": 8,
    "linear": 6,
    "random_forest": 4,
    "svm": 4,
}
_SEED = 20_261_128
_ROWS = 600  # of the tasks that choose, at least: fewer tell little apart
_SECONDS = 45.0  # that the first configurations took there, at most
_LEAST = 1e-6  # of mean regret, by which a portfolio must gain


def main() -> None:
    """Evaluate what is missing, then choose."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed-folder", type=Path, required=True, help="evaluations of the first configurations")
    parser.add_argument("--tasks", type=int, default=10, help="of each sort of target")
    parser.add_argument("--keep", type=int, default=16, help="configurations of each sort")
    parser.add_argument("--cores", type=int, default=2)
    options = parser.parse_args()
    warm_up()
    options.folder.mkdir(parents=True, exist_ok=True)
    chosen = {}
    for kind in SORTS:
        tasks = list(islice(judges(kind, options.seed_folder), options.tasks))
        for task in tasks:
            started = time.monotonic()
            proposals = candidates(TaskKind(task.kind))
            path = options.folder / f"{task.name}.jsonl"
            done = build(task, partial(load, task, with_unit=True), path, proposals, options.cores)
            print(f"{task.name:<28}{done:>4} trials {time.monotonic() - started:6.1f} s", flush=True)
        chosen[kind.sort] = choose(tasks, options.folder, options.seed_folder, options.keep)
    SHORTLIST.write_text(json.dumps(chosen, indent=1, sort_keys=True) + "\n")


def judges(kind: TaskKind, seed_folder: Path) -> Iterator[CorpusTask]:
    """Tasks of the seed that are of this sort, of no replay group, and neither small nor dear, in their order."""
    for task in one_a_group_first(read_tasks("train")):
        if task.kind in kind.alike and task.rows >= _ROWS and not task.is_replay:
            took = sum(line["cpu_seconds"] for line in read_lines(seed_folder / f"{task.name}.jsonl")[:FIRST])
            if 0 < took <= _SECONDS:
                yield task


def candidates(kind: TaskKind) -> list[Proposal]:
    """By turns random ones and neighbours of a default."""
    space = Space(TOLD_OF, kind)
    defaults = space.defaults_by_learner()
    rng = np.random.default_rng(_SEED)
    known = {canonical(one.configuration) for one in first_ones(space)}
    chosen: dict[str, Configuration] = {}
    for name, count in CANDIDATES.items():
        wanted = len(chosen) + count
        while len(chosen) < wanted:
            near = defaults[name][int(rng.integers(len(defaults[name])))]
            one = space.sample(rng, name) if len(chosen) % 2 else space.mutated(near, rng)
            if canonical(one) not in known:
                chosen.setdefault(canonical(one), one)
    return [Proposal(configuration=one, source=Source.RANDOM) for one in chosen.values()]


def choose(tasks: Sequence[CorpusTask], folder: Path, seed_folder: Path, keep: int) -> list[Configuration]:
    """Candidates in the order in which greedy portfolios take them."""
    tables = [_losses(task, (seed_folder, folder)) for task in tasks]
    known = sorted(set.intersection(*(set(table) for table in tables)))
    logs = np.array([[np.log(table[text] + OFFSET) for text in known] for table in tables])
    own = {canonical(one.configuration) for one in candidates(TaskKind(tasks[0].kind))}
    regrets = logs - logs.min(axis=1, keepdims=True)
    order = [known[place] for place in portfolios(regrets / regrets.max())]
    taken = [text for text in order if text in own][:keep]
    print(f"{len(taken)} of {len(own)}; first places {[order.index(text) for text in taken[:5]]}")
    return [json.loads(text) for text in taken]


def portfolios(regrets: Array) -> Iterator[int]:
    """Places of (tasks, configurations), one greedy portfolio after another, each as long as it gains, until all are in
    one."""
    left = np.arange(regrets.shape[1])
    while len(left):
        order = greedy_portfolio(regrets[:, left], len(left))
        best = np.minimum.accumulate(regrets[:, left[order]], axis=1).mean(axis=0)
        size = 1 + int((np.diff(best) < -_LEAST).sum())
        yield from left[order[:size]].tolist()
        left = np.delete(left, order[:size])


def _losses(task: CorpusTask, folders: Sequence[Path]) -> dict[str, float]:
    """Relative to the best constant prediction's, by canonical configuration; the worst where a trial failed."""
    space = Space(TOLD_OF, TaskKind(task.kind))
    lines = [line for folder in folders for line in read_lines(folder / f"{task.name}.jsonl")]
    known = [line for line in lines if is_current(line, space) and line["status"] not in TELLS_NOTHING]
    constant = next(line["loss"] for line in known if line["configuration"]["learner"] == "dummy")
    return {
        canonical(line["configuration"]): WORST if line["loss"] is None else min(line["loss"] / constant, WORST)
        for line in known
    }


if __name__ == "__main__":
    main()
