"""Trainings: who wins takes over, who does not waits, and both can be undone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pytest
from sqlalchemy import select

from app.jobs.tables import JobState
from app.knowledge import training
from app.knowledge.archive import ShippedMetamodel, write_archive
from app.knowledge.repository import TaskDescription
from app.knowledge.tables import KnowledgeEmbedding, Metamodel
from tests.workers.works import Works
from workers.engine.catalog import LEARNERS, METAMODELS
from workers.engine.meta.embeddings import EMBEDDINGS
from workers.engine.meta.judging import FEWEST_GROUPS, judge
from workers.engine.meta.leading import FEWEST_TASKS
from workers.engine.meta.metafeature_embedding import MetafeatureEmbedding
from workers.engine.meta.recorded import RecordedTask
from workers.engine.meta.replay import is_replay
from workers.engine.space import Space
from workers.engine.types import TaskKind

#: Each sort of task has a learner that is best on it; a trait tells the sorts apart.
SORTS = ("nearest_neighbours", "discriminant", "naive_bayes", "elastic_net")


def make_archive(folder: Path, groups: Sequence[int], champion: MetafeatureEmbedding) -> None:
    rng = np.random.default_rng(0)
    space = Space(LEARNERS, TaskKind.BINARY)
    tasks, evaluations = [], []
    for number in groups:
        sort = number % len(SORTS)
        seen = {"rows": 200.0, "columns": 5.0, "trait": float(sort * 5), "noise": float(rng.normal())}
        name = f"past {number}"
        values = {"metafeatures": seen, "constants": {"roc_auc": 0.5}}
        tasks.append(TaskDescription(fingerprint=name, group=name, kind="binary", **values))
        for configuration in (one for one in space.defaults() if one["learner"] in (*SORTS, "linear", "svm")):
            score = 0.95 if configuration["learner"] == SORTS[sort] else 0.6 + 0.05 * float(rng.random())
            evaluations.append((name, _evaluation(space, configuration, score)))
    (folder / "metamodels").mkdir(parents=True)
    shipped = ShippedMetamodel(role="embedding", name="metafeatures", file="metamodels/m.safetensors", learned_from={})
    champion.save(folder / shipped.file)
    points = [(task.fingerprint, shipped.file, champion.embed(task.metafeatures).tolist()) for task in tasks]
    write_archive(folder, tasks, evaluations, [shipped], points)


def _evaluation(space: Space, configuration: Any, score: float) -> dict[str, Any]:
    return {
        "configuration": dict(configuration),
        "learner_version": space.version_of(configuration["learner"]),
        "fidelity": {"rows": 1.0, "folds": None},
        "status": "succeeded",
        "metrics": {"roc_auc": score},
        "cpu_seconds": 0.5,
    }


def blind(metafeatures: tuple[str, ...]) -> MetafeatureEmbedding:
    """An embedding that looks at these only."""
    rng = np.random.default_rng(1)
    seen = [{name: float(8 * rng.normal()) for name in metafeatures} for _ in range(20)]
    return MetafeatureEmbedding.train([RecordedTask("g", TaskKind.BINARY, each, {}) for each in seen])


def train(works: Works) -> UUID:
    with works.database.transaction() as session:
        job_id = training.request_training(session, works.project_id, works.settings).id
        assert training.request_training(session, works.project_id, works.settings).id == job_id
    works.supervisor.run(job_id)
    return job_id


def states(works: Works) -> dict[tuple[str, int], str]:
    with works.database.transaction() as session:
        return {(row.name, row.version): row.state for row in session.scalars(select(Metamodel))}


def test_a_challenger_that_is_proven_better_takes_over_and_can_be_rolled_back(works: Works, tmp_path: Path) -> None:
    groups = range(200)
    assert sum(is_replay(f"past {number}") for number in groups) >= FEWEST_GROUPS
    make_archive(tmp_path / "archive", groups, blind(("noise",)))  # a champion that sees nothing that matters
    works.know(tmp_path / "archive")
    job = works.job(train(works))
    assert job.state == JobState.SUCCEEDED
    verdict, other, *leaders = job.progress["challengers"]
    assert verdict["promoted"], verdict
    assert 0 < verdict["low"] < verdict["gain"]
    assert (other["name"], other["promoted"]) == ("siamese", False)  # it has to beat the new champion
    assert [(one["name"], one["role"], one["why"]) for one in leaders] == [
        (name, f"{name}-classification", "the first of its role, and no worse than none") for name in METAMODELS
    ]
    before = states(works)
    assert before == dict.fromkeys(((name, 1) for name in METAMODELS), "champion") | {
        ("metafeatures", 1): "retired",
        ("metafeatures", 2): "champion",
        ("siamese", 1): "challenger",
    }
    with works.database.transaction() as session:
        assert len(session.scalars(select(KnowledgeEmbedding)).all()) == 2 * len(groups)
        names = Metamodel.name == "metafeatures", Metamodel.version == 1
        first = session.scalars(select(Metamodel).where(*names)).one()
        training.promote(session, first.id)
    assert states(works) == before | {("metafeatures", 1): "champion", ("metafeatures", 2): "retired"}


def test_a_challenger_that_is_worse_is_kept_and_refused(works: Works, tmp_path: Path) -> None:
    learned, judged = ([number for number in range(200) if is_replay(f"past {number}") == one] for one in (False, True))
    assert len(judged) >= FEWEST_GROUPS
    groups = [*learned[: FEWEST_TASKS - 1], *judged]  # too few for networks to learn from
    make_archive(tmp_path / "archive", groups, blind(("trait",)))  # a champion that sees what matters and nothing else
    works.know(tmp_path / "archive")
    verdicts = works.job(train(works)).progress["challengers"]
    assert [verdict["name"] for verdict in verdicts] == list(EMBEDDINGS)
    assert not any(verdict["promoted"] for verdict in verdicts)
    assert verdicts[0]["gain"] <= 0
    assert set(states(works).values()) == {"champion", "challenger"}


def test_nothing_is_trained_on_too_little(works: Works, tmp_path: Path) -> None:
    make_archive(tmp_path / "archive", range(5), blind(("trait",)))
    works.know(tmp_path / "archive")
    job = works.job(train(works))
    assert "are needed" in job.progress["detail"]
    assert states(works) == {("metafeatures", 1): "champion"}


@pytest.mark.parametrize(("groups", "won"), [(FEWEST_GROUPS - 1, False), (FEWEST_GROUPS, True)])
def test_few_groups_decide_nothing_however_clear(groups: int, won: bool) -> None:
    names = [str(number // 2) for number in range(2 * groups)]  # two tasks a group
    champion = np.full(2 * groups, 0.5)
    verdict = judge(names, champion, champion - 0.1)
    assert (verdict.groups, verdict.is_won) == (groups, won)
    assert not judge(names, champion, champion + np.random.default_rng(0).normal(size=2 * groups) * 0.1).is_won
