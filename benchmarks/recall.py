"""What knowledge costs a job: describing, recalling, asking; and the search for neighbours among many tasks.

    python -m benchmarks.recall

On an embedded PostgreSQL with the package's seed knowledge: seconds to describe made tables of several shapes and to
gather what is known of them; milliseconds an ask with a past of 500 tasks; then the search for neighbours, which also
fetches their descriptions, with 50,000 tasks in the store. Limits: 0.5 s, 20 ms, p99 50 ms.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from uuid import UUID

import numpy as np
from sqlalchemy import text
from sqlalchemy.orm import Session

from app.blobs import Blobs
from app.database import Database
from app.ids import new_id
from app.knowledge import repository
from app.knowledge.loading import load_seed
from app.knowledge.tables import Metamodel
from app.local.postgres import Postgres
from app.migrate import upgrade
from app.projects.tables import Project
from app.settings import Settings
from benchmarks.made import make_table
from workers.corpus import read_frame
from workers.description import describe
from workers.engine.catalog import EMBEDDING_ROLE, LEARNERS
from workers.engine.fit import Plan
from workers.engine.learners.base import Size
from workers.engine.meta.past import Past
from workers.engine.search.auto import Auto
from workers.engine.search.base import SearchContext
from workers.engine.space import Space
from workers.engine.types import Task, TaskKind, Trial, TrialStatus
from workers.problem import Problem
from workers.recall import embed, gather

SHAPES = ((200, 5), (1_000, 20), (20_000, 20), (2_000, 300))
_TASKS, _CONFIGURATIONS, _ASKS = 500, 80, 60
_MANY, _QUERIES = 50_000, 300


def main() -> None:
    """Print it."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    with tempfile.TemporaryDirectory(prefix="ws-recall-") as name:
        folder = Path(name)
        server = Postgres(folder / "postgres", folder / "postgres.log")
        server.start()
        try:
            upgrade(server.url)
            settings = Settings(data_dir=folder / "data", database_url=server.url)
            started = time.perf_counter()
            load_seed(server.url, settings)
            print(f"seed knowledge loaded in {time.perf_counter() - started:.2f} s, once")
            database = Database(server.url)
            try:
                measure_recall(database, Blobs(settings.blobs), settings.recall_tasks)
                measure_asks()
                measure_neighbours(database, settings.recall_tasks)
            finally:
                database.dispose()
        finally:
            server.stop()


def measure_recall(database: Database, blobs: Blobs, limit: int) -> None:
    """Before the first trial, by shape of the table."""
    with database.transaction() as session:
        project = Project(name="recall", quotas={})
        session.add(project)
        session.flush()
        project_id = project.id
    for rows, columns in SHAPES:
        problem = make_problem(rows, columns)
        started = time.perf_counter()
        description = describe(problem)
        described = time.perf_counter()
        with database.transaction() as session:
            metamodel = repository.find_champion(session, EMBEDDING_ROLE)
            assert metamodel is not None
            point = embed(blobs, metamodel, description)
            _, summary = gather(session, project_id, problem, description, metamodel, point, limit)
        ended = time.perf_counter()
        print(
            f"{rows:>7,} x {columns:<4} described in {described - started:.3f} s, {summary['tasks']} tasks and"
            f" {summary['evaluations']} evaluations gathered in {ended - described:.3f} s: {ended - started:.3f} s"
        )


def make_problem(rows: int, columns: int) -> Problem:
    """A made table as a job has it."""
    frame = make_table(rows, columns, seed=0)
    target = frame.columns[-1]
    with tempfile.TemporaryDirectory(prefix="ws-recall-") as name:
        table, found, _ = read_frame(frame, target, TaskKind.BINARY, Path(name))
    return Problem(
        table=table,
        y=found.y,
        task=Task(target=target, kind=TaskKind.BINARY, metric="roc_auc", classes=found.classes),
        plan=Plan(),
        weights=None,
        groups=None,
        times=None,
        dataset_sha256="",
        target_place=0,
        knowledge="shared",
        contribute="none",
    )


def measure_asks() -> None:
    """Of `auto` with a large past."""
    rng = np.random.default_rng(0)
    space = Space(LEARNERS, TaskKind.BINARY)
    configurations = [space.sample(rng) for _ in range(_CONFIGURATIONS)]
    past = Past(configurations, rng.uniform(0.2, 1.0, (_TASKS, _CONFIGURATIONS)))
    strategy = Auto(
        SearchContext(
            space=space,
            size=Size(rows=1000, columns=20, classes=2),
            seed=0,
            workers=1,
            seconds=600.0,
            trials=None,
            n_folds=5,
            past=past,
        )
    )
    took = []
    for number in range(_ASKS):
        started = time.perf_counter()
        proposal = strategy.ask()
        took.append(time.perf_counter() - started)
        assert proposal is not None
        loss = float(rng.uniform(0.2, 1.0))
        strategy.tell(
            Trial(
                number=number, proposal=proposal, status=TrialStatus.SUCCEEDED, loss=loss, seconds=float(rng.random())
            )
        )
    print(f"an ask, {_TASKS} tasks x {_CONFIGURATIONS} configurations: {summary_ms(took)}")


def measure_neighbours(database: Database, limit: int) -> None:
    """Among many tasks."""
    rng = np.random.default_rng(0)
    with database.transaction() as session:
        metamodel = repository.find_champion(session, EMBEDDING_ROLE)
        assert metamodel is not None
        project_id, width = fill(session, metamodel, rng)
    took = []
    for _ in range(_QUERIES):
        point = rng.normal(size=width).tolist()
        with database.transaction() as session:
            started = time.perf_counter()
            repository.list_nearest(session, project_id, "shared", ["binary"], metamodel.id, point, limit)
            took.append(time.perf_counter() - started)
    print(f"the nearest {limit} of {_MANY:,} tasks: {summary_ms(took)}")


def fill(session: Session, metamodel: Metamodel, rng: np.random.Generator) -> tuple[UUID, int]:
    """Tasks of one project; its id, and how many numbers an embedding has."""
    width = session.execute(
        text("SELECT vector_dims(embedding) FROM knowledge_embeddings WHERE metamodel_id = :id LIMIT 1"),
        {"id": metamodel.id},
    ).scalar_one()
    project = Project(name="many", quotas={})
    session.add(project)
    session.flush()
    ids = [new_id() for _ in range(_MANY)]
    features = '{"rows": 1000.0, "columns": 20.0, "classes": 2.0}'
    with session.connection().connection.cursor() as cursor:  # type: ignore[attr-defined]
        columns = 'id, project_id, is_shared, fingerprint, "group", kind, metafeatures, constants'
        with cursor.copy(f"COPY knowledge_tasks ({columns}) FROM STDIN") as copy:
            for number, task_id in enumerate(ids):
                copy.write_row((task_id, project.id, False, str(number), str(number), "binary", features, "{}"))
        with cursor.copy("COPY knowledge_embeddings (task_id, metamodel_id, embedding) FROM STDIN") as copy:
            for task_id in ids:
                copy.write_row((task_id, metamodel.id, str(rng.normal(size=width).round(4).tolist())))
    session.execute(text("ANALYZE knowledge_tasks, knowledge_embeddings"))
    return project.id, int(width)


def summary_ms(took: Sequence[float]) -> str:
    """Median, 99th percentile and most."""
    p50, p99, most = 1000 * np.quantile(took, [0.5, 0.99, 1.0])
    return f"p50 {p50:.1f} ms, p99 {p99:.1f} ms, most {most:.1f} ms"


if __name__ == "__main__":
    main()
