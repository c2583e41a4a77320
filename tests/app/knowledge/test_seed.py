"""The knowledge that the package ships: small, whole, of today's learners, and without a bench task."""

from __future__ import annotations

import hashlib
from pathlib import Path

from sqlalchemy import select

from app.database import Database
from app.knowledge.archive import open_archive
from app.knowledge.loading import SEED, load_seed
from app.knowledge.tables import KnowledgeEvaluation, KnowledgeTask, Metamodel
from app.settings import Settings
from workers.corpus import read_tasks
from workers.engine.catalog import LEARNERS
from workers.engine.space import Space
from workers.engine.types import TaskKind

MOST_BYTES, MOST_SHARD_BYTES = 25_000_000, 5_000_000


def _fingerprints(split: str) -> set[str]:
    return {hashlib.sha256(f"corpus {task.name}".encode()).hexdigest() for task in read_tasks(split)}


def test_it_is_small_and_of_train_tasks_only() -> None:
    archive = open_archive(SEED)
    sizes = [path.stat().st_size for path in SEED.rglob("*") if path.is_file()]
    assert sum(sizes) <= MOST_BYTES
    assert max(sizes) <= MOST_SHARD_BYTES
    known = {task.fingerprint for task in archive.tasks()}
    assert len(known) >= 100
    assert known <= _fingerprints("train")
    assert not known & _fingerprints("bench")


def test_its_evaluations_are_of_todays_learners() -> None:
    archive = open_archive(SEED)
    spaces = {kind.value: Space(LEARNERS, kind) for kind in TaskKind}
    kinds = {task.fingerprint: task.kind for task in archive.tasks()}
    stale = {
        evaluation["configuration"]["learner"]
        for fingerprint, evaluation in archive.evaluations()
        if not spaces[kinds[fingerprint]].is_current(evaluation["configuration"], evaluation["learner_version"])
    }
    assert not stale, "build what is stale anew: python -m workers.seed"


def test_it_is_loaded_once_and_its_tasks_only_if_wanted(database: Database, settings: Settings, tmp_path: Path) -> None:
    def counts() -> tuple[int, int]:
        with database.transaction() as session:
            tables = (KnowledgeTask.id, Metamodel.id)
            tasks, metamodels = (len(session.scalars(select(table)).all()) for table in tables)
            assert tasks == 0 or session.scalars(select(KnowledgeEvaluation.id).limit(1)).one()
        return tasks, metamodels

    wanted = settings.model_copy(update={"data_dir": tmp_path, "seed_knowledge": True})
    assert not load_seed(database.url, wanted.model_copy(update={"seed_knowledge": False}))
    tasks, metamodels = counts()
    assert tasks == 0
    assert metamodels >= 1
    assert load_seed(database.url, wanted)
    assert not load_seed(database.url, wanted)
    assert counts() == (len(list(open_archive(SEED).tasks())), metamodels)


def test_a_damaged_seed_is_no_reason_not_to_start(database: Database, settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text("{")
    assert not load_seed(database.url, settings, tmp_path)
