"""What knowledge is worth on recorded evaluations: cold against warm, each strategy by name.

    python -m benchmarks.knowledge                          # the knowledge that the package ships
    python -m benchmarks.knowledge --archive FOLDER
    python -m benchmarks.knowledge --embeddings none metafeatures siamese
    python -m benchmarks.knowledge --strategies transfer rnn mann lstm_optimiser composite

Ten folds by group: a strategy sees the other folds' tasks, then asks for recorded trials of one task, one after
another, each taking the seconds that it took. Cold is `auto` without a past, through its opening. Printed are the mean
best regret at k trials and at shares of cold's seconds, and by how much sooner than cold each reaches the score that
cold ends at, with 95 % intervals over tasks. Embeddings are trained per fold on the other folds' tasks, replay groups
never among them, and compared in pairs on the same tasks: mean differences of regret, with 95 % intervals over groups;
and how well distance predicts how differently configurations rank. Networks that strategies need are trained per fold
and sort of target on the other folds too, and kept in a scratch folder.
"""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

from app.knowledge.archive import open_archive
from app.knowledge.loading import SEED
from benchmarks.networks import SCRATCH, trained
from workers.engine.catalog import LEARNERS, get_needs
from workers.engine.meta.embeddings import EMBEDDINGS
from workers.engine.meta.judging import SHARES
from workers.engine.meta.metamodel import Metamodel
from workers.engine.meta.past import Past
from workers.engine.meta.recorded import Found, RecordedTask, past_of, replay
from workers.engine.meta.replay import is_replay
from workers.engine.meta.siamese_training import rank_differences
from workers.engine.space import Space
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
    parser.add_argument("--networks", type=Path, default=SCRATCH, help="where trained metamodels are kept")
    parser.add_argument("--embeddings", nargs="*", default=["metafeatures"], choices=["none", *EMBEDDINGS])
    options = parser.parse_args()
    tasks, configurations = read(options.archive)
    print(f"{len(tasks)} tasks, {len(configurations)} configurations\n")
    columns = [*(f"k = {k}" for k in STEPS), *(f"{share:.0%}" for share in SHARES)]
    print(f"{'mean best regret at':<20}" + "".join(f"{column:>8}" for column in columns) + "   sooner: median, mean")
    cold = [replay("auto", task, configurations, None) for task in tasks]
    report("auto, cold", tasks, cold, cold)
    regrets: dict[tuple[str, str], Array] = {}
    for embedding in options.embeddings:
        distances = [distances_to(tasks, embedding, fold) for fold in range(_FOLDS)]
        pasts = [past_without(tasks, configurations, place, distances) for place in range(len(tasks))]
        for name in options.strategies:
            found = [
                replay(name, task, configurations, past, metamodels=taught(name, tasks, configurations, place, options))
                for place, (task, past) in enumerate(zip(tasks, pasts, strict=True))
            ]
            regrets[name, embedding] = report(f"{name}, {embedding}", tasks, found, cold)
        if embedding != "none":
            report_fit(embedding, tasks, distances)
    compare(tasks, regrets, options.embeddings)


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


def distances_to(tasks: Sequence[RecordedTask], name: str, fold: int) -> Array:
    """(tasks, tasks) of an embedding that knows the other folds only, and no replay group; none: all are as near."""
    if name == "none":
        return np.ones((len(tasks), len(tasks)))
    learned = [task for task in tasks if fold_of(task.group) != fold and not is_replay(task.group)]
    embedding = EMBEDDINGS[name].train(learned)
    points = np.array([embedding.embed(task.metafeatures) for task in tasks])
    return np.asarray(np.linalg.norm(points[:, None] - points[None], axis=2))


def past_without(
    tasks: Sequence[RecordedTask], configurations: Mapping[str, Configuration], place: int, distances: Sequence[Array]
) -> Past | None:
    """What the tasks of other folds and of the same sort of target say to one task; `distances` are by fold."""
    others = strangers(tasks, place)
    near = distances[fold_of(tasks[place].group)][place, others]
    return past_of([tasks[other] for other in others], near, configurations)


def taught(
    strategy: str,
    tasks: Sequence[RecordedTask],
    configurations: Mapping[str, Configuration],
    place: int,
    options: argparse.Namespace,
) -> dict[str, Metamodel]:
    """What a strategy needs, trained on the tasks that are strange to one task."""
    needed = get_needs(strategy)
    if not needed:
        return {}
    kind, fold = tasks[place].kind, fold_of(tasks[place].group)
    others = [tasks[other] for other in strangers(tasks, place)]
    past = past_of(others, np.ones(len(others)), configurations)
    assert past is not None
    space = Space(LEARNERS, kind)
    return {name: trained(name, past, space, options.networks, seed=fold) for name in needed}


def strangers(tasks: Sequence[RecordedTask], place: int) -> list[int]:
    """Places of the tasks of other folds and of the same sort of target."""
    mine = tasks[place]
    return [
        other
        for other, each in enumerate(tasks)
        if each.kind in mine.kind.alike and fold_of(each.group) != fold_of(mine.group)
    ]


def fold_of(group: str) -> int:
    """Of a group of data, the same for ever."""
    return int.from_bytes(hashlib.sha256(f"fold {group}".encode()).digest()[:4]) % _FOLDS


def report(name: str, tasks: Sequence[RecordedTask], runs: Sequence[Found], cold: Sequence[Found]) -> Array:
    """A line; the regrets (tasks, columns)."""
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
    return np.array(regrets)


def report_fit(name: str, tasks: Sequence[RecordedTask], distances: Sequence[Array]) -> None:
    """How well distance predicts one less the rank correlation of losses, task by task of a fold that was held out."""
    differences = rank_differences(tasks)
    for label, is_judged in (("other", False), ("replay", True)):
        found = []
        for place in (place for place, task in enumerate(tasks) if is_replay(task.group) == is_judged):
            others = [each for each in strangers(tasks, place) if not np.isnan(differences[place, each])]
            near = distances[fold_of(tasks[place].group)][place, others]
            found.append(spearmanr(near, differences[place, others]).statistic)
        print(
            f"    {name}: rank correlation of distance and difference, {label} groups {np.mean(found):.3f}", flush=True
        )


def compare(tasks: Sequence[RecordedTask], regrets: Mapping[tuple[str, str], Array], embeddings: Sequence[str]) -> None:
    """A line for each strategy and pair of embeddings: by how much the later one's regret is lower, x 1000."""
    for chosen, is_wanted in (("all groups", (False, True)), ("replay groups alone", (True,))):
        places = [place for place, task in enumerate(tasks) if is_replay(task.group) in is_wanted]
        groups = sorted({tasks[place].group for place in places})
        of = np.array([groups.index(tasks[place].group) for place in places])
        print(f"\nregret x 1000 that the second saves over the first, {len(groups)} groups, {chosen}")
        for one, other in combinations(embeddings, 2):
            for name in dict.fromkeys(strategy for strategy, _ in regrets):
                saved = 1000 * (regrets[name, one] - regrets[name, other])[places]
                saved = np.column_stack([saved, saved[:, -len(SHARES) :].mean(axis=1)])
                each = np.array([saved[of == group].mean(axis=0) for group in range(len(groups))])
                drawn = each[np.random.default_rng(0).integers(len(each), size=(_BOOTSTRAP, len(each)))].mean(axis=1)
                low, high = np.quantile(drawn, [0.025, 0.975], axis=0)
                cells = "".join(
                    f"{m:>7.1f} [{a:.1f}, {b:.1f}]" for m, a, b in zip(each.mean(0), low, high, strict=True)
                )
                print(f"{name}: {one} → {other}  {cells}", flush=True)


def _interval(logs: Array, middle: object) -> str:
    rng = np.random.default_rng(0)
    drawn = logs[rng.integers(len(logs), size=(_BOOTSTRAP, len(logs)))]
    assert callable(middle)
    low, high = np.exp(np.quantile(middle(drawn, axis=1), [0.025, 0.975]))
    return f"[{low:.2f}, {high:.2f}]"


if __name__ == "__main__":
    main()
