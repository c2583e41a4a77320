"""What knowledge is worth on recorded evaluations: cold against warm, each strategy by name, nothing trained here.

    python -m benchmarks.knowledge                          # the knowledge that the package ships
    python -m benchmarks.knowledge --archive FOLDER

Ten folds by group of data: a strategy sees the other folds' tasks, then asks for recorded trials of one task, one after
another, each taking the seconds that it took. Cold is `auto` without a past, through its opening. Printed are the mean
best regret at k trials, and by how much sooner than cold each reaches the score at which cold ends.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.knowledge.archive import open_archive
from app.knowledge.loading import SEED
from app.knowledge.repository import TaskDescription
from workers.engine.catalog import DEFAULT_METRIC, LEARNERS, get_strategy
from workers.engine.learners.base import Size
from workers.engine.meta.constants import relative_loss
from workers.engine.meta.evaluations import configuration_key
from workers.engine.meta.metafeature_embedding import MetafeatureEmbedding
from workers.engine.meta.past import Past
from workers.engine.meta.recollection import Recollection
from workers.engine.search.base import SearchContext
from workers.engine.space import FiniteSpace, Space, canonical
from workers.engine.types import Configuration, TaskKind, Trial, TrialStatus
from workers.recall import likeness_of

Array = NDArray[np.float64]

STEPS = (1, 3, 5, 10, 20, 30)
_FOLDS = 10
_FAILED_S = 1.0  # of a trial that says nothing of its seconds
_BOOTSTRAP = 2_000


@dataclass(frozen=True)
class Recorded:
    """One task's trials."""

    task: TaskDescription
    losses: Mapping[str, float]  #: relative loss by configuration key
    seconds: Mapping[str, float]

    @property
    def size(self) -> Size:
        """Of its table."""
        seen = self.task.metafeatures
        return Size(rows=int(seen["rows"]), columns=int(seen["columns"]), classes=int(seen.get("classes", 0)))


class RecordedSpace(FiniteSpace):
    """The engine's own space, cut down to what was recorded."""

    def __init__(self, whole: Space, recorded: Sequence[Configuration]) -> None:
        super().__init__([one for one in recorded if whole.has(one)])
        self._whole = whole
        self._known = {canonical(one) for one in self.configurations}

    def defaults(self) -> list[Configuration]:
        """Hand-written ones that were recorded."""
        return [one for one in self._whole.defaults() if canonical(one) in self._known]

    def defaults_by_learner(self) -> dict[str, list[Configuration]]:
        """The same for each learner; ones that were not recorded keep their place."""
        return self._whole.defaults_by_learner()

    def cost(self, configuration: Configuration, size: Size) -> float:
        """As the engine predicts it."""
        return self._whole.cost(configuration, size)


def main() -> None:
    """Print a line a strategy."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--archive", type=Path, default=SEED)
    parser.add_argument("--strategies", nargs="*", default=["random", "portfolio", "transfer", "auto"])
    options = parser.parse_args()
    tasks, configurations = read(options.archive)
    print(f"{len(tasks)} tasks, {len(configurations)} configurations\n")
    print(
        f"{'mean best regret at k =':<24}" + "".join(f"{k:>9}" for k in STEPS) + "     sooner than cold, median [95 %]"
    )
    cold = [run(tasks, configurations, "auto", place, is_warm=False) for place in range(len(tasks))]
    report("auto, cold", tasks, cold, cold)
    for name in options.strategies:
        report(name, tasks, [run(tasks, configurations, name, place) for place in range(len(tasks))], cold)


def read(folder: Path) -> tuple[list[Recorded], dict[str, Configuration]]:
    """Tasks with their trials of the default metric, and configurations by key."""
    archive = open_archive(folder)
    tasks = {task.fingerprint: task for task in archive.tasks()}
    losses: dict[str, dict[str, float]] = {}
    seconds: dict[str, dict[str, float]] = {}
    configurations: dict[str, Configuration] = {}
    for fingerprint, evaluation in archive.evaluations():
        task = tasks[fingerprint]
        metric = DEFAULT_METRIC[TaskKind(task.kind)]
        key = configuration_key(evaluation["configuration"], evaluation["learner_version"])
        configurations[key] = evaluation["configuration"]
        score = evaluation["metrics"].get(metric)
        loss = float("nan") if score is None else relative_loss(metric, score, task.constants[metric])
        losses.setdefault(fingerprint, {})[key] = loss
        seconds.setdefault(fingerprint, {})[key] = evaluation["cpu_seconds"] or _FAILED_S
    return [
        Recorded(task, losses[name], seconds[name]) for name, task in tasks.items() if name in losses
    ], configurations


def run(
    tasks: Sequence[Recorded],
    configurations: Mapping[str, Configuration],
    name: str,
    place: int,
    *,
    is_warm: bool = True,
) -> tuple[Array, Array]:
    """(trials,) best relative loss so far, and seconds spent by then, on one task."""
    recorded = tasks[place]
    kind = TaskKind(recorded.task.kind)
    keys = {canonical(configurations[key]): key for key in recorded.losses}
    space = RecordedSpace(Space(LEARNERS, kind, recorded.size), [configurations[key] for key in recorded.losses])
    context = SearchContext(
        space=space,
        size=recorded.size,
        seed=0,
        workers=1,
        seconds=None,
        trials=len(keys),
        n_folds=3,
        is_skewed=recorded.task.metafeatures.get("target_skew", 0.0) > 0.6,
        past=past_of(tasks, configurations, place) if is_warm else None,
    )
    strategy = get_strategy(name)(context)
    losses, seconds = [], []
    while (proposal := strategy.ask()) is not None:
        key = keys.get(canonical(proposal.configuration))
        if key is None or not proposal.fidelity.is_full:
            break
        loss = recorded.losses[key]
        failed = bool(np.isnan(loss))
        losses.append(np.inf if failed else loss)
        seconds.append(recorded.seconds[key])
        strategy.tell(
            Trial(
                number=len(losses) - 1,
                proposal=proposal,
                status=TrialStatus.FAILED if failed else TrialStatus.SUCCEEDED,
                loss=None if failed else loss,
                seconds=seconds[-1],
            )
        )
    return np.minimum.accumulate(losses), np.cumsum(seconds)


def past_of(tasks: Sequence[Recorded], configurations: Mapping[str, Configuration], place: int) -> Past | None:
    """What the tasks of other folds and of the same sort of target say, weighed by likeness."""
    mine = tasks[place].task
    is_number = mine.kind == TaskKind.REGRESSION
    others = [
        each
        for each in tasks
        if (each.task.kind == TaskKind.REGRESSION) == is_number and fold_of(each.task.group) != fold_of(mine.group)
    ]
    embedding = MetafeatureEmbedding.train([each.task.metafeatures for each in others])
    here = embedding.embed(mine.metafeatures)
    far = np.array([np.linalg.norm(embedding.embed(each.task.metafeatures) - here) for each in others])
    order = np.argsort(far, kind="stable")
    rows: list[tuple[int, str, float, float]] = [
        (row, key, loss, others[each].seconds[key])
        for row, each in enumerate(order)
        for key, loss in others[each].losses.items()
    ]
    made = Recollection(*zip(*rows, strict=True)).to_past(configurations, likeness_of(far[order]))
    return None if made is None else made[0]


def fold_of(group: str) -> int:
    """Of a group of data, the same for ever."""
    import hashlib

    return int.from_bytes(hashlib.sha256(f"fold {group}".encode()).digest()[:4]) % _FOLDS


def report(name: str, tasks: Sequence[Recorded], runs: Sequence[tuple[Array, Array]], cold: Sequence[Any]) -> None:
    """A line."""
    regrets, ratios = [], []
    for recorded, (best, spent), (cold_best, cold_spent) in zip(tasks, runs, cold, strict=True):
        finite = [loss for loss in recorded.losses.values() if not np.isnan(loss)]
        low, high = min(finite), max(finite)
        regrets.append([(min(best[min(k, len(best)) - 1], high) - low) / max(high - low, 1e-12) for k in STEPS])
        goal = cold_best[-1] + 1e-9
        reached = np.flatnonzero(best <= goal)
        when = spent[reached[0]] if len(reached) else spent[-1] + cold_spent[-1]
        ratios.append(cold_spent[np.flatnonzero(cold_best <= goal)[0]] / when)
    low, high = _interval(np.array(ratios))
    cells = "".join(f"{value:>9.4f}" for value in np.mean(regrets, axis=0))
    print(f"{name:<24}{cells}     {np.median(ratios):.2f} × [{low:.2f}, {high:.2f}]", flush=True)


def _interval(values: Array) -> tuple[float, float]:
    rng = np.random.default_rng(0)
    medians = np.median(values[rng.integers(len(values), size=(_BOOTSTRAP, len(values)))], axis=1)
    low, high = np.quantile(medians, [0.025, 0.975])
    return float(low), float(high)


if __name__ == "__main__":
    main()
