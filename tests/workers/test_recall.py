"""What jobs know of past tasks: recalled, pinned, kept from other projects; a store of lies costs little."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pytest
from sqlalchemy import select

from app.knowledge.archive import ShippedMetamodel, open_archive, write_archive
from app.knowledge.loading import load_archive
from app.knowledge.repository import TaskDescription
from app.knowledge.tables import JobKnowledge, KnowledgeEmbedding, KnowledgeEvaluation, KnowledgeTask, Metamodel
from app.projects.tables import Project
from tests.workers.works import PENGUINS, Works, leaderboard
from workers.engine.catalog import EMBEDDING_ROLE, LEARNERS, get_metamodel
from workers.engine.meta.embeddings import EMBEDDINGS
from workers.engine.meta.evaluations import key_of
from workers.engine.meta.recorded import RecordedTask, past_of
from workers.engine.space import Space
from workers.engine.types import TaskKind

TASKS = 12
QUICK = ["dummy", "linear", "naive_bayes", "nearest_neighbours"]


def make_archive(folder: Path, *, best: str = "nearest_neighbours", champion: str = "metafeatures") -> None:
    """Past tasks on which one learner is far better than all others."""
    rng = np.random.default_rng(0)
    space = Space(LEARNERS, TaskKind.MULTICLASS)
    constants = {"log_loss": 1.0, "accuracy": 0.4}
    tasks, evaluations = [], []
    for number in range(TASKS):
        seen = {"rows": 100.0 + number, "columns": 5.0, "class_entropy": float(rng.uniform(0.5, 1.5))}
        name = f"past {number}"
        tasks.append(
            TaskDescription(fingerprint=name, group=name, kind="multiclass", metafeatures=seen, constants=constants)
        )
        for configuration in space.defaults():
            loss = 0.1 if configuration["learner"] == best else 0.6
            evaluations.append(
                (
                    name,
                    {
                        "configuration": dict(configuration),
                        "learner_version": space.version_of(configuration["learner"]),
                        "fidelity": {"rows": 1.0, "folds": None},
                        "status": "succeeded",
                        "metrics": {"log_loss": loss + 0.05 * float(rng.random()), "accuracy": 1 - loss},
                        "seconds": 0.5,
                    },
                )
            )
    (folder / "metamodels").mkdir(parents=True)
    recorded = [RecordedTask(task.group, TaskKind(task.kind), task.metafeatures, task.constants) for task in tasks]
    shipped, points, configurations = [], [], {}
    for name, sort in EMBEDDINGS.items():
        embedding, state = sort.train(recorded), "champion" if name == champion else "challenger"
        file = f"metamodels/{name}.safetensors"
        about = ShippedMetamodel(role=EMBEDDING_ROLE, name=name, file=file, learned_from={}, state=state)
        embedding.save(folder / about.file)
        shipped.append(about)
        points += [(task.fingerprint, about.file, embedding.embed(task.metafeatures).tolist()) for task in tasks]
    for task, (name, evaluation) in product(recorded, evaluations):
        if task.group == name and (key := task.add(evaluation)) is not None:
            configurations[key] = evaluation["configuration"]
    past = past_of(recorded, np.ones(TASKS), configurations)
    assert past is not None
    leader = ShippedMetamodel(
        role="mann-classification", name="mann", file="metamodels/mann.safetensors", learned_from={}
    )
    get_metamodel("mann").train(past, space, seed=0, steps=4).save(folder / leader.file)
    write_archive(folder, tasks, evaluations, [*shipped, leader], points)


@pytest.fixture
def informed(works: Works, tmp_path: Path) -> Iterator[Works]:
    """A store that holds the archive and nothing else."""
    make_archive(tmp_path / "archive")
    works.know(tmp_path / "archive")
    return works


def run(works: Works, **changes: Any) -> UUID:
    job_id = works.submit(**changes)
    works.supervisor.run(job_id)
    return job_id


def sources(works: Works, job_id: UUID) -> list[tuple[str, str]]:
    return [(row.proposal["source"], row.proposal["configuration"]["learner"]) for row in works.log(job_id)]


def test_an_archive_is_loaded_once_and_the_same_knowledge_gives_the_same_bytes(informed: Works, tmp_path: Path) -> None:
    make_archive(tmp_path / "again")
    one, other = (open_archive(tmp_path / name) for name in ("archive", "again"))
    assert one.sha256 == other.sha256
    with informed.database.transaction() as session:
        assert not load_archive(session, informed.blobs, other)
        assert len(session.scalars(select(KnowledgeTask)).all()) == TASKS
        assert len(session.scalars(select(KnowledgeEmbedding)).all()) == TASKS * len(EMBEDDINGS)


def test_a_job_begins_with_what_did_well_on_past_tasks_and_keeps_a_cold_arm(informed: Works) -> None:
    job_id = run(informed, budget={"seconds": None, "trials": 5})
    told = sources(informed, job_id)
    assert told[0] == ("neighbour", "nearest_neighbours")
    assert told[3][0] == "default"  # the fourth is cold
    with informed.database.transaction() as session:
        known = session.get_one(JobKnowledge, job_id)
    assert known.summary["tasks"] == TASKS
    assert known.summary["neighbours"][0]["shared_traits"]
    assert informed.job(job_id).reproducible


def test_a_strategy_that_needs_a_metamodel_has_the_champion_pinned(informed: Works) -> None:
    job_id = run(informed, strategy="mann", budget={"seconds": None, "trials": 8})
    told = [source for source, _ in sources(informed, job_id)]
    assert told[:3] == ["portfolio"] * 3
    assert "surrogate" in told
    with informed.database.transaction() as session:
        known = session.get_one(JobKnowledge, job_id)
        champion = session.scalars(select(Metamodel).where(Metamodel.name == "mann")).one()
    assert known.summary["metamodels"]["mann-classification"] == {"id": str(champion.id), "name": "mann", "version": 1}


def test_the_same_table_again_begins_with_what_won_there(works: Works, tmp_path: Path) -> None:
    make_archive(tmp_path / "archive", best="linear")
    works.know(tmp_path / "archive")
    run(works, contribute="own")
    space = Space(LEARNERS, TaskKind.MULTICLASS)
    won = space.sample(np.random.default_rng(1), "linear")
    with works.database.transaction() as session:
        task = session.scalars(select(KnowledgeTask).where(KnowledgeTask.project_id == works.project_id)).one()
        evaluation = {
            "configuration": dict(won),
            "learner_version": space.version_of("linear"),
            "fidelity": {"rows": 1.0, "folds": None},
            "status": "succeeded",
            "metrics": {"log_loss": 1e-4, "accuracy": 1.0},
        }
        session.add(KnowledgeEvaluation(task_id=task.id, configuration_key=key_of(evaluation), evaluation=evaluation))
    first = works.log(run(works, seed=8))[0]
    assert (first.proposal["source"], first.proposal["configuration"]) == ("neighbour", dict(won))


@pytest.mark.parametrize("champion", list(EMBEDDINGS))
def test_tasks_are_near_by_the_champion_that_the_archive_names(works: Works, tmp_path: Path, champion: str) -> None:
    make_archive(tmp_path / "archive", champion=champion)
    works.know(tmp_path / "archive")
    job_id = run(works, budget={"seconds": None, "trials": 2}, algorithms={"include": QUICK})
    with works.database.transaction() as session:
        states = {row.name: row.state for row in session.scalars(select(Metamodel))}
        known = session.get_one(JobKnowledge, job_id)
    assert {name: states[name] for name in EMBEDDINGS} == {
        name: "champion" if name == champion else "challenger" for name in EMBEDDINGS
    }
    assert known.summary["metamodels"][EMBEDDING_ROLE]["name"] == champion
    assert len(known.summary["neighbours"]) == 10


def test_the_same_seed_gives_the_same_leaderboard_on_the_same_knowledge(informed: Works) -> None:
    spec = {"contribute": "none", "budget": {"seconds": None, "trials": 6}}
    first, second = (run(informed, **spec) for _ in range(2))
    assert leaderboard(informed.log(first)) == leaderboard(informed.log(second))


def test_a_job_with_knowledge_off_is_a_cold_one(informed: Works) -> None:
    job_id = run(informed, knowledge="off")
    assert {source for source, _ in sources(informed, job_id)} <= {"default", "random", "halving"}
    with informed.database.transaction() as session:
        assert session.get(JobKnowledge, job_id) is None


def test_what_a_project_learns_stays_its_own_unless_both_share(informed: Works) -> None:
    def own_tasks() -> list[tuple[bool, int]]:
        with informed.database.transaction() as session:
            rows = session.scalars(select(KnowledgeTask).where(KnowledgeTask.project_id == informed.project_id)).all()
            points = session.scalars(select(KnowledgeEmbedding.task_id)).all()
        return [(row.is_shared, points.count(row.id)) for row in rows]

    run(informed, contribute="none")
    assert own_tasks() == []
    run(informed, contribute="shared")  # the project does not share
    assert own_tasks() == [(False, 1)]
    with informed.database.transaction() as session:
        session.get_one(Project, informed.project_id).shares_knowledge = True
    run(informed, contribute="own", metric="accuracy")
    run(informed, contribute="shared")
    assert sorted(own_tasks()) == [(False, 1), (True, 1)]


@pytest.mark.parametrize("change", [{"features": {"exclude": ["island"]}}, {"class_weight": "balanced"}])
def test_another_question_about_the_same_table_is_another_task(informed: Works, change: dict[str, Any]) -> None:
    run(informed)
    run(informed, **change)
    run(informed, **change)
    with informed.database.transaction() as session:
        own = select(KnowledgeTask).where(KnowledgeTask.project_id == informed.project_id)
        assert len(session.scalars(own).all()) == 2


def test_a_sample_of_a_known_table_is_of_its_group(informed: Works, tmp_path: Path) -> None:
    run(informed)
    lines = PENGUINS.read_text().splitlines(keepends=True)
    (tmp_path / "half.csv").write_text("".join([lines[0], *lines[1::2]]))
    run(informed, dataset_id=informed.store(tmp_path / "half.csv"))
    with informed.database.transaction() as session:
        own = session.scalars(select(KnowledgeTask).where(KnowledgeTask.project_id == informed.project_id)).all()
    assert len({task.fingerprint for task in own}) == 2
    assert len({task.group for task in own}) == 1


def test_a_store_that_lies_costs_trials_and_not_the_model(works: Works, tmp_path: Path) -> None:
    make_archive(tmp_path / "lies", best="dummy")
    works.know(tmp_path / "lies")
    spec = {"algorithms": {"include": QUICK}, "budget": {"seconds": None, "trials": 8}, "contribute": "none"}
    misled, cold = run(works, **spec), run(works, **spec, knowledge="off")
    best = [min(row.loss for row in works.log(job_id) if row.loss is not None) for job_id in (misled, cold)]
    baseline = max(row.loss for row in works.log(misled) if row.loss is not None)  # the dummy's
    assert sources(works, misled)[0] == ("neighbour", "dummy")
    assert best[0] - best[1] <= 0.05 * (baseline - best[1])
