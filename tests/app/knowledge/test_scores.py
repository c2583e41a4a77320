"""Which scores a project is told: its own, what is shared, and of each the best that it may see."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest

from app.database import Database
from app.jobs.tables import Job
from app.knowledge.repository import list_best_scores, list_scores, record_job, stop_sharing
from tests.app.knowledge.made import make_evaluation, make_task


def test_what_one_job_keeps_to_its_project_is_not_told_when_another_shares_the_task(
    database: Database, tenant: Any, make_tenant: Callable[[str], Any], submit: Callable[..., Any]
) -> None:
    other = make_tenant("other")
    jobs = [submit()["id"] for _ in range(2)]
    for job_id, is_shared, learner in zip(jobs, (False, True), ("linear", "svm"), strict=True):
        evaluation = make_evaluation(learner)
        with database.transaction() as session:
            job = session.get(Job, UUID(job_id))
            task_id = record_job(session, job, make_task(), [evaluation], is_shared=is_shared)

    def told(project_id: UUID, scope: str) -> int:
        with database.transaction() as session:
            return len(
                list_scores(
                    session,
                    project_id,
                    scope,
                    [task_id],
                    "roc_auc",
                    tried_by=1,
                    winners_of=0,
                    learners={},
                    is_greater_better=True,
                )
            )

    assert told(tenant.project_id, "own") == 2
    assert told(other.project_id, "shared") == 1
    assert told(other.project_id, "own") == 0
    with database.transaction() as session:
        stop_sharing(session, tenant.project_id)
    assert told(other.project_id, "shared") == 0


@pytest.mark.parametrize(
    ("metric", "is_greater_better", "won"), [("roc_auc", True, "svm"), ("log_loss", False, "linear")]
)
def test_a_tasks_winner_is_the_best_of_what_the_asking_project_may_see(
    database: Database,
    tenant: Any,
    make_tenant: Callable[[str], Any],
    submit: Callable[..., Any],
    metric: str,
    is_greater_better: bool,
    won: str,
) -> None:
    other = make_tenant("other")
    found = {"linear": {"roc_auc": 0.7, "log_loss": 0.3}, "svm": {"roc_auc": 0.8, "log_loss": 0.4}}
    private = {"roc_auc": 0.9, "log_loss": 0.1}
    with database.transaction() as session:
        shared, kept = (session.get(Job, UUID(submit()["id"])) for _ in range(2))
        evaluations = [make_evaluation(learner) | {"metrics": metrics} for learner, metrics in found.items()]
        task_id = record_job(session, shared, make_task(), evaluations, is_shared=True)
        record_job(session, kept, make_task(), [make_evaluation("catboost") | {"metrics": private}])

    def winners(project_id: UUID, **known: str) -> list[float]:
        with database.transaction() as session:
            rows = list_scores(
                session,
                project_id,
                "shared",
                [task_id],
                metric,
                tried_by=3,
                winners_of=1,
                learners=known,
                is_greater_better=is_greater_better,
            )
        return [row[2] for row in rows]

    everything = dict.fromkeys((*found, "catboost"), "v")
    assert winners(tenant.project_id, **everything) == [private[metric]]
    assert winners(other.project_id, **everything) == [found[won][metric]]
    assert winners(tenant.project_id, **dict.fromkeys(found, "v")) == [found[won][metric]]
    assert winners(tenant.project_id, **dict.fromkeys(everything, "of before")) == []


def test_the_best_score_is_of_todays_learners_of_whole_trials_and_of_what_may_be_seen(
    database: Database, tenant: Any, make_tenant: Callable[[str], Any], submit: Callable[..., Any]
) -> None:
    def scored(value: float, **changes: Any) -> dict[str, Any]:
        return make_evaluation() | {"metrics": {"roc_auc": value}} | changes

    other = make_tenant("other")
    told = [scored(0.7), scored(0.6), scored(0.95, status="stopped"), scored(0.96, learner_version="older")]
    with database.transaction() as session:
        shared, kept = (session.get(Job, UUID(submit()["id"])) for _ in range(2))
        task_id = record_job(session, shared, make_task(), told, is_shared=True)
        record_job(session, kept, make_task(), [scored(0.8)], is_shared=False)

    def best(project_id: UUID, scope: str, *, is_greater_better: bool = True) -> dict[UUID, float]:
        with database.transaction() as session:
            return list_best_scores(
                session,
                project_id,
                scope,
                [task_id],
                "roc_auc",
                learners={"linear": "v"},
                is_greater_better=is_greater_better,
            )

    assert best(tenant.project_id, "own") == {task_id: 0.8}
    assert best(other.project_id, "shared") == {task_id: 0.7}
    assert best(other.project_id, "shared", is_greater_better=False) == {task_id: 0.6}
    assert best(other.project_id, "own") == {}
