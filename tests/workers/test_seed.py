"""Seed knowledge is built once, taken up where it stopped, and redone where the space has changed."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from app.knowledge.archive import open_archive
from app.knowledge.loading import SEED
from workers import seed
from workers.corpus import read_tasks
from workers.engine.meta.embeddings import EMBEDDINGS
from workers.engine.meta.recorded import RecordedTask
from workers.engine.meta.replay import is_replay
from workers.engine.space import Space, canonical
from workers.engine.types import TaskKind


def make_frame(rows: int = 150) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"a": rng.normal(size=rows), "b": rng.choice(["x", "y", "z"], rows)})
    return frame.assign(y=np.where(frame["a"] + rng.normal(size=rows) > 0, "yes", "no"))


def build(path: Path, count: int) -> int:
    task = replace(next(read_tasks("train")), kind="binary", target="y", unit=None)
    wanted = seed.proposals(Space(seed.TOLD_OF, TaskKind.BINARY), task.name, count)
    return seed.build(task, make_frame, path, wanted, cores=2)


@pytest.mark.parametrize("kind", list(TaskKind))
def test_a_longer_list_begins_with_the_shorter_one_and_that_with_the_defaults(kind: TaskKind) -> None:
    space = Space(seed.TOLD_OF, kind)
    short, long = ([canonical(one.configuration) for one in seed.proposals(space, "pima", n)] for n in (45, 60))
    assert len(set(long)) == 60
    assert long[:45] == short
    assert {canonical(one) for one in space.defaults()} <= set(short)


@pytest.mark.parametrize("kind", list(TaskKind))
def test_tasks_share_the_first_configurations_and_have_the_others_to_themselves(kind: TaskKind) -> None:
    space = Space(seed.TOLD_OF, kind)
    one, other = ([canonical(each.configuration) for each in seed.proposals(space, n, 80)] for n in ("one", "other"))
    shared = len(seed.shared(space))
    assert shared >= seed.FIRST
    assert one[:shared] == other[:shared]
    assert not {*one[shared:]} & {*other[shared:]}


def test_every_group_is_heard_before_any_is_heard_twice_and_bench_never() -> None:
    tasks = list(seed.one_a_group_first(read_tasks("train")))
    groups = [task.group for task in tasks]
    assert len(tasks) == 615
    assert len(set(groups[: len(set(groups))])) == len(set(groups)) == 411
    assert not {task.name for task in tasks} & {task.name for task in read_tasks("bench")}


def test_a_build_goes_on_where_it_stopped(tmp_path: Path) -> None:
    path = tmp_path / "task.jsonl"
    assert build(path, 2) == 2
    path.write_text(path.read_text() + '{"configuration": {"learner": "dummy"}')  # killed in the midst of a line
    assert build(path, 4) == 2
    assert build(path, 4) == 0
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    wanted = seed.proposals(Space(seed.TOLD_OF, TaskKind.BINARY), next(read_tasks("train")).name, 4)
    assert {canonical(line["configuration"]) for line in lines} == {canonical(one.configuration) for one in wanted}
    assert {line["status"] for line in lines} == {"succeeded"}
    assert all(len(line["fold_losses"]) == 3 and "log_loss" in line["metrics"] for line in lines)
    assert not {"a", "b", "x", "yes"} & set(path.read_text().replace('"', " ").split())


def test_evaluations_of_another_version_are_redone(tmp_path: Path) -> None:
    path = tmp_path / "task.jsonl"
    build(path, 3)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    lines[0]["learner_version"], lines[1]["recipe"] = "older", -1
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert build(path, 3) == 2


def test_embeddings_without_a_judge_come_behind_the_plain_one() -> None:
    names = [name for name in map(str, range(40)) if not is_replay(name)]
    losses = {str(place): place / 10 for place in range(6)}
    tasks = [RecordedTask(name, TaskKind.BINARY, {"rows": float(name), "columns": 3.0}, {}, losses) for name in names]
    trained, shipped = seed.train_embeddings(tasks, [], {})
    assert [one.name for one in trained] == [one.name for one in shipped] == list(EMBEDDINGS)
    assert [one.state for one in shipped] == ["champion", *["challenger"] * (len(EMBEDDINGS) - 1)]
    assert {one.learned_from["tasks"] for one in shipped} == {len(names)}


def test_large_tables_are_sampled_without_losing_a_class_to_a_handful_of_rows() -> None:
    labels = ["common"] * 9_000 + ["rare"] * 900 + ["lonely"] * 10
    frame = pd.DataFrame({"a": np.arange(len(labels)), "y": labels})
    kept = seed.sample(frame, "y", TaskKind.MULTICLASS)
    assert 1_990 <= len(kept) <= seed.MOST_ROWS
    assert set(kept["y"]) == {"common", "rare"}


def test_a_build_goes_on_from_what_the_package_ships(tmp_path: Path) -> None:
    seed.unpack(SEED, tmp_path)
    archive = open_archive(SEED)
    assert len(list(tmp_path.glob("*.jsonl"))) == len(list(archive.tasks()))
    named = {task.name: task for task in read_tasks("train")}
    path = next(iter(sorted(tmp_path.glob("*.jsonl"))))
    space = Space(seed.TOLD_OF, TaskKind(named[path.stem].kind))
    lines = seed.read_lines(path)
    assert lines
    assert all(seed.is_current(line, space) for line in lines)
    path.write_text("")
    seed.unpack(SEED, tmp_path)
    assert path.read_text() == "", "what the folder has is newer"
