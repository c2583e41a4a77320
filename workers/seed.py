"""Seed knowledge: the engine's configurations evaluated on real public tasks, so that the first job is warm.

    make bench-install
    python -m workers.seed data/seed --from app/knowledge/seed --configurations 48
    python -m workers.seed data/seed --pack app/knowledge/seed

Every task of the corpus's train split, one a group first, gets the same list of configurations: all hand-written
defaults, random ones drawn once a kind of task up to 40, then those that `workers/shortlist.py` has chosen. Beyond
these it gets its own, by turns neighbours of a default and random ones, which show what values do. Three folds of at
most 2,000 rows, at most 20 s a trial. A task is a file of lines, an evaluation each, as a finished job leaves them;
what is there and of the present space is not done again, so that the build can be stopped at any time. Bench tasks
never enter.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.model_selection import train_test_split

from app.knowledge.archive import ShippedMetamodel, open_archive, write_archive
from app.knowledge.repository import TaskDescription
from workers.corpus import MIN_CLASS_ROWS, CorpusTask, load, read_frame, read_tasks
from workers.description import describe_task
from workers.engine.catalog import DEFAULT_METRIC, FOUNDATION, LEARNERS, METAMODELS, READERS, leading_role
from workers.engine.evaluation.pool import TrialPool, warm_up
from workers.engine.evaluation.prepare import PreparedTask, prepare
from workers.engine.evaluation.splits import make_splits
from workers.engine.meta.embeddings import EMBEDDINGS, TaskEmbedding
from workers.engine.meta.evaluations import evaluation_of
from workers.engine.meta.judging import judge, regrets_with
from workers.engine.meta.leading import SORTS, School
from workers.engine.meta.recorded import RecordedTask
from workers.engine.meta.replay import is_replay
from workers.engine.meta.set_encoder import VERSION as ENCODER
from workers.engine.space import Space, canonical
from workers.engine.types import Configuration, Proposal, Scheme, Source, Task, TaskKind, Trial, Validation

MOST_ROWS = 2_000
FOLDS = 3
TRIAL_SECONDS = 20.0
RECIPE = 1  #: raised when evaluations mean something else: rows, folds or time
_MEMORY_MB = 3_000
FIRST = 40  #: configurations that all tasks of a kind try before the shortlist
SHORTLIST = Path(__file__).with_name("shortlist.json")
_SEED = 20_261_127  # of the shared random configurations
#: learners whose configurations are evaluated
TOLD_OF = tuple(name for name in LEARNERS if name not in (*READERS, *FOUNDATION))


def main() -> None:
    """Build, saving as it goes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--configurations", type=int, default=48, help="of each task")
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--tasks", nargs="*", help="only these")
    parser.add_argument("--minutes", type=float, default=1e9, help="start no task later")
    parser.add_argument("--from", dest="archive", type=Path, help="an archive to go on from, where the folder has none")
    parser.add_argument("--pack", type=Path, metavar="ARCHIVE", help="build nothing: pack what there is")
    options = parser.parse_args()
    if options.pack is not None:
        pack(options.folder, options.pack)
        return
    until = time.monotonic() + 60 * options.minutes
    warm_up()
    options.folder.mkdir(parents=True, exist_ok=True)
    if options.archive is not None:
        unpack(options.archive, options.folder)
    tasks = list(one_a_group_first(read_tasks("train", options.tasks)))
    for number, task in enumerate(tasks):
        if time.monotonic() > until:
            break
        started = time.monotonic()
        path = options.folder / f"{task.name}.jsonl"
        try:
            wanted = proposals(Space(TOLD_OF, TaskKind(task.kind)), task.name, options.configurations)
            done = build(task, partial(load, task, with_unit=True), path, wanted, options.cores)
        except Exception as error:  # whatever one odd table does, the others are built
            print(f"{number + 1} of {len(tasks)}  {task.name:<28}left out: {error!r}", flush=True)
            continue
        if done:
            print(
                f"{number + 1} of {len(tasks)}  {task.name:<28}{done:>4} trials {time.monotonic() - started:6.1f} s",
                flush=True,
            )


def one_a_group_first(tasks: Iterable[CorpusTask]) -> Iterator[CorpusTask]:
    """The first task of every group, then the second, and so on; all kinds mixed, in an order that never changes."""
    groups: dict[str, list[CorpusTask]] = {}
    for task in sorted(tasks, key=lambda task: hashlib.sha256(task.group.encode()).digest()):
        groups.setdefault(task.group, []).append(task)
    for place in range(max(map(len, groups.values()), default=0)):
        yield from (group[place] for group in groups.values() if place < len(group))


def proposals(space: Space, task: str, count: int) -> list[Proposal]:
    """Those that all tasks of a kind share, then the task's own. A longer list begins with the shorter one."""
    chosen = {canonical(one.configuration): one for one in shared(space)}
    names = [name for name in space.learners if name != "dummy"]
    near = [one for one in space.defaults() if one["learner"] in names]
    rng = np.random.default_rng([_SEED, *hashlib.sha256(task.encode()).digest()])
    while len(chosen) < count:
        if len(chosen) % 2:
            one = space.sample(rng, names[int(rng.integers(len(names)))])
        else:
            one = space.mutated(near[int(rng.integers(len(near)))], rng)
        chosen.setdefault(canonical(one), Proposal(configuration=one, source=Source.RANDOM))
    return list(chosen.values())[:count]


def shared(space: Space) -> list[Proposal]:
    """What all tasks of a kind try."""
    return [*first_ones(space), *_shortlisted(space)]


def first_ones(space: Space) -> list[Proposal]:
    """Defaults, then random ones, the same for all tasks of a kind."""
    chosen = {canonical(one): Proposal(configuration=one, source=Source.DEFAULT) for one in space.defaults()}
    names = [name for name in space.learners if name != "dummy"]
    rng = np.random.default_rng(_SEED)
    while len(chosen) < FIRST:
        one = space.sample(rng, names[len(chosen) % len(names)])
        chosen.setdefault(canonical(one), Proposal(configuration=one, source=Source.RANDOM))
    return list(chosen.values())


def _shortlisted(space: Space) -> list[Proposal]:
    """Those chosen for this sort of target; none that this space has no longer."""
    chosen = json.loads(SHORTLIST.read_text())[space.kind.sort]
    return [Proposal(configuration=one, source=Source.RANDOM) for one in chosen if space.has(one)]


def build(
    task: CorpusTask, read: Callable[[], pd.DataFrame], path: Path, wanted: Sequence[Proposal], cores: int
) -> int:
    """Evaluate what is missing on one task; how many trials that took.

    Args:
        task: of the corpus.
        read: makes its table, if anything is missing.
        path: file of lines; damaged last lines, as of a killed build, are dropped, and so is what is stale.
        wanted: what to evaluate.
        cores: trials side by side.
    """
    space = Space(LEARNERS, TaskKind(task.kind))
    known = [line for line in read_lines(path) if is_current(line, space)]
    done = {canonical(line["configuration"]) for line in known}
    missing = [one for one in wanted if canonical(one.configuration) not in done]
    if not missing:
        return 0
    whole = path.with_suffix(".partial")
    whole.write_text("".join(json.dumps(line) + "\n" for line in known))
    whole.replace(path)
    with tempfile.TemporaryDirectory(prefix="ws-seed-") as name, path.open("a") as file:
        prepared = prepare_frame(read(), task.target, space.kind, Path(name), task.unit)
        for trial in evaluate(prepared, missing, Path(name) / "trials", cores):
            line = evaluation_of(trial, space, prepared.task.metric) | {"recipe": RECIPE}
            file.write(json.dumps(line) + "\n")
            file.flush()
    return len(missing)


def is_current(line: Mapping[str, Any], space: Space) -> bool:
    """Whether an evaluation means what it would mean today."""
    return line["recipe"] == RECIPE and space.is_current(line["configuration"], line["learner_version"])


def unpack(archive: Path, folder: Path) -> None:
    """The evaluations of a packed build as files of lines, for tasks that have none."""
    names = {_fingerprint(task): task.name for task in read_tasks("train")}
    lines: dict[str, list[str]] = {}
    for fingerprint, evaluation in open_archive(archive).evaluations():
        lines.setdefault(fingerprint, []).append(json.dumps(evaluation | {"recipe": RECIPE}) + "\n")
    for fingerprint, name in names.items():
        path = folder / f"{name}.jsonl"
        if fingerprint in lines and not path.exists():
            whole = path.with_suffix(".partial")
            whole.write_text("".join(lines[fingerprint]))
            whole.replace(path)


def pack(folder: Path, archive: Path) -> None:
    """What was built, as the archive that the package ships."""
    known: dict[str, TaskDescription] = {}
    evaluations: list[tuple[str, dict[str, Any]]] = []
    stale = 0
    for task in read_tasks("train"):
        space = Space(LEARNERS, TaskKind(task.kind))
        lines = read_lines(folder / f"{task.name}.jsonl")
        current = [line for line in lines if is_current(line, space)]
        stale += len(lines) - len(current)
        if current:
            found = describe(task, folder / f"{task.name}.task.json")
            known[found.fingerprint] = found
            evaluations += [
                (found.fingerprint, {key: line[key] for key in line if key != "recipe"}) for line in current
            ]
    (archive / "metamodels").mkdir(parents=True, exist_ok=True)
    recorded = {name: _recorded(task) for name, task in known.items()}
    configurations: dict[str, Configuration] = {}
    for fingerprint, line in evaluations:
        if (key := recorded[fingerprint].add(line)) is not None:
            configurations[key] = line["configuration"]
    learned = [task for task in recorded.values() if not is_replay(task.group)]
    judged = [task for task in recorded.values() if is_replay(task.group)]
    trained, shipped = train_embeddings(learned, judged, configurations)
    points = []
    for embedding, about in zip(trained, shipped, strict=True):
        embedding.save(archive / about.file)
        points += [(name, about.file, embedding.embed(task.metafeatures).tolist()) for name, task in known.items()]
    shipped += train_leaders(learned, judged, configurations, archive)
    write_archive(archive, known.values(), evaluations, shipped, points)
    size = sum(path.stat().st_size for path in archive.rglob("*") if path.is_file())
    print(f"{len(known)} tasks, {len(evaluations)} evaluations, {size / 1e6:.1f} MB; {stale} stale ones left out")


def train_embeddings(
    learned: Sequence[RecordedTask], judged: Sequence[RecordedTask], configurations: Mapping[str, Configuration]
) -> tuple[list[TaskEmbedding], list[ShippedMetamodel]]:
    """Every sort of embedding; the first is champion, unless a later one is proven better on the replay groups."""
    trained = [kind.train(learned) for kind in EMBEDDINGS.values()]
    regrets = [regrets_with(one, learned, judged, configurations) for one in trained]
    verdicts = [judge([task.group for task in judged], regrets[0], each) for each in regrets]
    winners = [place for place, verdict in enumerate(verdicts) if verdict.is_won]
    champion = max(winners, key=lambda place: verdicts[place].gain, default=0)
    return trained, [
        ShippedMetamodel(
            role=one.role,
            name=one.name,
            file=f"metamodels/{one.name}.safetensors",
            learned_from={"tasks": len(learned)},
            replay=asdict(verdict) if place else {},
            state="champion" if place == champion else "challenger",
        )
        for place, (one, verdict) in enumerate(zip(trained, verdicts, strict=True))
    ]


def train_leaders(
    learned: Sequence[RecordedTask],
    judged: Sequence[RecordedTask],
    configurations: Mapping[str, Configuration],
    archive: Path,
) -> list[ShippedMetamodel]:
    """Every metamodel that leads searches, for each sort of target: saved, replayed against its strategy without it.

    Whatever comes of that they are champions: who asks for one by name gets it.
    """
    shipped = []
    for school in (School(sort, learned, judged, configurations) for sort in SORTS):
        for name in METAMODELS:
            started = time.monotonic()
            leader = school.train(name)
            if leader is None:
                continue
            verdict = school.judge(name, None, leader)
            role = leading_role(name, school.sort)
            file = f"metamodels/{role}.safetensors"
            leader.save(archive / file)
            about = {"tasks": len(school.learned)}
            shipped.append(
                ShippedMetamodel(role=role, name=name, file=file, learned_from=about, replay=asdict(verdict))
            )
            print(
                f"{role}: {verdict.champion:.4f} without, {verdict.challenger:.4f} with it, lower end of the gain"
                f" {verdict.low:.4f}, {verdict.groups} groups, {time.monotonic() - started:.0f} s",
                flush=True,
            )
    return shipped


def _recorded(task: TaskDescription) -> RecordedTask:
    return RecordedTask(task.group, TaskKind(task.kind), task.metafeatures, task.constants)


def describe(task: CorpusTask, path: Path) -> TaskDescription:
    """The task as jobs describe theirs, kept in a file beside its evaluations."""
    if path.exists():
        kept = json.loads(path.read_text())
        if (kept.pop("recipe"), kept.pop("encoder", None)) == (RECIPE, ENCODER):
            return TaskDescription(**{**kept, "sketch": bytes.fromhex(kept["sketch"])})
    with tempfile.TemporaryDirectory(prefix="ws-seed-") as name:
        frame = sample(load(task, with_unit=True), task.target, TaskKind(task.kind))
        table, found, _ = read_frame(frame, task.target, TaskKind(task.kind), Path(name), task.unit)
    description = describe_task(
        table,
        found.y,
        TaskKind(task.kind),
        found.classes,
        fingerprint=_fingerprint(task),
        group=task.known_group,
    )
    kept = asdict(description) | {"sketch": (description.sketch or b"").hex(), "recipe": RECIPE, "encoder": ENCODER}
    path.write_text(json.dumps(kept))
    return description


def _fingerprint(task: CorpusTask) -> str:
    return hashlib.sha256(f"corpus {task.name}".encode()).hexdigest()


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The whole lines of a task's file."""
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text().splitlines(keepends=True) if line.endswith("\n")]


def evaluate(prepared: PreparedTask, proposals: Sequence[Proposal], scratch: Path, cores: int) -> Iterator[Trial]:
    """Trials as they end, each in a bounded process."""
    scratch.mkdir()
    pool = TrialPool(prepared, scratch, workers=cores)
    try:
        waiting = list(enumerate(proposals))
        while waiting or pool.running:
            while waiting and pool.has_room:
                number, proposal = waiting.pop(0)
                pool.submit(number, proposal, seconds=TRIAL_SECONDS, memory_mb=_MEMORY_MB)
            for finished in pool.wait(1.0):
                yield finished.trial
    finally:
        pool.close()


def prepare_frame(
    frame: pd.DataFrame, target: str, kind: TaskKind, folder: Path, unit: str | None = None
) -> PreparedTask:
    """A sample of the table, by the road that an upload takes, with three folds; `unit` is the groups' column."""
    table, found, groups = read_frame(sample(frame, target, kind), target, kind, folder, unit)
    task = Task(
        target=target,
        kind=kind,
        metric=DEFAULT_METRIC[kind],
        classes=found.classes,
        validation=Validation(scheme=Scheme.KFOLD if groups is None else Scheme.GROUP, folds=FOLDS),
    )
    return prepare(folder / "task", table, found.y, None, task, make_splits(task, found.y, groups))


def sample(frame: pd.DataFrame, target: str, kind: TaskKind) -> pd.DataFrame:
    """At most MOST_ROWS rows, classes in proportion, and none that is left with hardly a row."""
    if len(frame) <= MOST_ROWS:
        return frame
    labels = None if kind is TaskKind.REGRESSION else frame[target]
    kept: pd.DataFrame = train_test_split(frame, train_size=MOST_ROWS, random_state=0, stratify=labels)[0]
    if labels is None:
        return kept
    counts = kept[target].value_counts()
    common: pd.DataFrame = kept[kept[target].isin(counts.index[counts >= MIN_CLASS_ROWS])]
    return common


if __name__ == "__main__":
    main()
