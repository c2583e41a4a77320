"""What knowledge is worth on recorded evaluations: cold against warm, each strategy by name, nothing trained here.

    python -m benchmarks.knowledge                          # the knowledge that the package ships
    python -m benchmarks.knowledge --archive FOLDER

Ten folds by group: a strategy sees the other folds' tasks, then asks for recorded trials of one task, one after
another, each taking the seconds that it took. Cold is `auto` without a past, through its opening. Printed are the mean
best regret at k trials and at shares of cold's seconds, and by how much sooner than cold each reaches the score that
cold ends at, with 95 % intervals over tasks.
"""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from app.knowledge.archive import open_archive
from app.knowledge.loading import SEED
from workers.engine.meta.judging import SHARES
from workers.engine.meta.metafeature_embedding import MetafeatureEmbedding
from workers.engine.meta.past import Past
from workers.engine.meta.recorded import Found, RecordedTask, is_alike, past_of, replay
from workers.engine.types import Configuration, TaskKind

Array = NDArray[np.float64]

STEPS = (1, 3, 5, 10, 20, 30)
_FOLDS = 10
_BOOTSTRAP = 2_000


def main() -> None:
    """Print a line a strategy."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--archive", type=Path, default=SEED)
    parser.add_argument("--strategies", nargs="*", default=["random", "portfolio", "transfer", "auto"])
    options = parser.parse_args()
    tasks, configurations = read(options.archive)
    print(f"{len(tasks)} tasks, {len(configurations)} configurations\n")
    columns = [*(f"k = {k}" for k in STEPS), *(f"{share:.0%}" for share in SHARES)]
    print(f"{'mean best regret at':<20}" + "".join(f"{column:>8}" for column in columns) + "   sooner: median, mean")
    pasts = [past_without(tasks, configurations, place) for place in range(len(tasks))]
    cold = [replay("auto", task, configurations, None) for task in tasks]
    report("auto, cold", tasks, cold, cold)
    for name in options.strategies:
        found = [replay(name, task, configurations, past) for task, past in zip(tasks, pasts, strict=True)]
        report(name, tasks, found, cold)


def read(folder: Path) -> tuple[list[RecordedTask], dict[str, Configuration]]:
    """Tasks with their trials, and configurations by key."""
    archive = open_archive(folder)
    tasks = {
        task.fingerprint: RecordedTask(task.group, TaskKind(task.kind), task.metafeatures, task.constants)
        for task in archive.tasks()
    }
    configurations: dict[str, Configuration] = {}
    for fingerprint, evaluation in archive.evaluations():
        if (key := tasks[fingerprint].add(evaluation)) is not None:
            configurations[key] = evaluation["configuration"]
    return [task for task in tasks.values() if task.losses], configurations


def past_without(tasks: Sequence[RecordedTask], configurations: Mapping[str, Configuration], place: int) -> Past | None:
    """What the tasks of other folds and of the same sort of target say to one task."""
    mine = tasks[place]
    others = [each for each in tasks if is_alike(each.kind, mine.kind) and fold_of(each.group) != fold_of(mine.group)]
    embedding = MetafeatureEmbedding.train(others)
    here = embedding.embed(mine.metafeatures)
    distances = np.array([np.linalg.norm(embedding.embed(each.metafeatures) - here) for each in others])
    return past_of(others, distances, configurations)


def fold_of(group: str) -> int:
    """Of a group of data, the same for ever."""
    return int.from_bytes(hashlib.sha256(f"fold {group}".encode()).digest()[:4]) % _FOLDS


def report(name: str, tasks: Sequence[RecordedTask], runs: Sequence[Found], cold: Sequence[Found]) -> None:
    """A line."""
    regrets, ratios = [], []
    for task, found, plain in zip(tasks, runs, cold, strict=True):
        finite = [loss for loss in task.losses.values() if not np.isnan(loss)]
        low, high = min(finite), max(finite)
        losses = [min(found.best[min(k, len(found.best)) - 1], high) for k in STEPS]
        losses += [found.at(share * plain.seconds[-1], high) for share in SHARES]
        regrets.append((np.array(losses) - low) / max(high - low, 1e-12))
        reached = plain.when(plain.best[-1])
        assert reached is not None
        ratios.append(reached / (found.when(plain.best[-1]) or found.seconds[-1] + plain.seconds[-1]))
    logs = np.log(ratios)
    cells = "".join(f"{value:>8.4f}" for value in np.mean(regrets, axis=0))
    median, mean = (f"{np.exp(middle(logs)):.2f} × {_interval(logs, middle)}" for middle in (np.median, np.mean))
    print(f"{name:<20}{cells}   {median}, {mean}", flush=True)


def _interval(logs: Array, middle: object) -> str:
    rng = np.random.default_rng(0)
    drawn = logs[rng.integers(len(logs), size=(_BOOTSTRAP, len(logs)))]
    assert callable(middle)
    low, high = np.exp(np.quantile(middle(drawn, axis=1), [0.025, 0.975]))
    return f"[{low:.2f}, {high:.2f}]"


if __name__ == "__main__":
    main()
