"""Jobs through HTTP: submit, list, poll, cancel, extend, delete."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select

from app.database import Database
from app.jobs.tables import Job, JobEvent


def test_job_is_queued_when_submitted(client: TestClient, tenant: Any, dataset_id: UUID, database: Database) -> None:
    body = {"dataset_id": str(dataset_id), "target": "income", "name": "first", "labels": {"team": "risk"}}
    answer = client.post("/v1/jobs", json=body, headers=tenant.write)
    assert answer.status_code == 202
    job = answer.json()
    assert answer.headers["location"] == f"/v1/jobs/{job['id']}"
    assert answer.headers["retry-after"] == "1"
    assert (job["state"], job["name"], job["labels"]) == ("queued", "first", {"team": "risk"})
    assert client.get(answer.headers["location"], headers=tenant.read).json() == job
    with database.transaction() as session:
        events = session.scalars(select(JobEvent)).all()
        assert [(event.seq, event.type, event.data["state"]) for event in events] == [(1, "state", "queued")]


def test_pages_cover_everything_once_when_followed(client: TestClient, tenant: Any, submit: Callable[..., Any]) -> None:
    ids = [submit(name=f"job {n}")["id"] for n in range(7)]
    seen, cursor, pages = [], None, 0
    while True:
        answer = client.get("/v1/jobs", params={"limit": 3, "cursor": cursor}, headers=tenant.read).json()
        seen += [job["id"] for job in answer["items"]]
        cursor, pages = answer["next_cursor"], pages + 1
        if cursor is None:
            break
    assert seen == ids[::-1]
    assert pages == 3


def test_list_is_filtered_when_asked(
    client: TestClient, tenant: Any, submit: Callable[..., Any], change_job: Callable[..., None]
) -> None:
    first, second = submit()["id"], submit()["id"]
    change_job(first, state="running")
    running = client.get("/v1/jobs", params={"state": "running"}, headers=tenant.read).json()["items"]
    both = client.get("/v1/jobs", params={"state": ["running", "queued"]}, headers=tenant.read).json()["items"]
    assert [job["id"] for job in running] == [first]
    assert {job["id"] for job in both} == {first, second}


@pytest.mark.parametrize("cursor", ["%00", "not-base64!", "YWJj", "ÿ", "x" * 300])
def test_answer_is_422_when_the_cursor_is_not_ours(client: TestClient, tenant: Any, cursor: str) -> None:
    answer = client.get("/v1/jobs", params={"cursor": cursor}, headers=tenant.read)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["parameter"] == "cursor"


def test_page_is_made_smaller_when_too_large(client: TestClient, tenant: Any) -> None:
    assert client.get("/v1/jobs", params={"limit": 10**9}, headers=tenant.read).status_code == 200
    assert client.get("/v1/jobs", params={"limit": 0}, headers=tenant.read).status_code == 422


def test_answer_is_304_when_nothing_changed(
    client: TestClient, tenant: Any, submit: Callable[..., Any], change_job: Callable[..., None]
) -> None:
    job_id = submit()["id"]
    for path in (f"/v1/jobs/{job_id}", "/v1/jobs"):
        first = client.get(path, headers=tenant.read)
        known = {**tenant.read, "If-None-Match": f'"zzz", W/{first.headers["etag"]}'}
        assert client.get(path, headers=known).status_code == 304
    change_job(job_id, progress={"trials": 1})
    assert client.get(f"/v1/jobs/{job_id}", headers={**tenant.read, "If-None-Match": '"1"'}).status_code == 200


def _later(seconds: float, work: Callable[[], None]) -> threading.Thread:
    thread = threading.Thread(target=lambda: (time.sleep(seconds), work()))
    thread.start()
    return thread


def test_long_poll_answers_when_the_job_changes(
    client: TestClient, tenant: Any, submit: Callable[..., Any], change_job: Callable[..., None]
) -> None:
    job = submit()
    known = {**tenant.read, "Prefer": "wait=20", "If-None-Match": f'"{job["version"]}"'}
    thread = _later(0.3, lambda: change_job(job["id"], progress={"trials": 3}))
    started = time.monotonic()
    answer = client.get(f"/v1/jobs/{job['id']}", headers=known)
    thread.join()
    assert answer.status_code == 200
    assert answer.json()["progress"] == {"trials": 3}
    assert answer.headers["preference-applied"] == "wait=20"
    assert 0.25 < time.monotonic() - started < 3


def test_long_poll_waits_for_the_state_when_no_etag_is_given(
    client: TestClient, tenant: Any, submit: Callable[..., Any], change_job: Callable[..., None]
) -> None:
    job_id = submit()["id"]
    first = _later(0.1, lambda: change_job(job_id, progress={"trials": 3}))
    second = _later(0.5, lambda: change_job(job_id, state="running"))
    answer = client.get(f"/v1/jobs/{job_id}", headers={**tenant.read, "Prefer": "wait=20"})
    first.join(), second.join()
    assert answer.json()["state"] == "running"


def test_long_poll_ends_when_the_time_is_up(client: TestClient, tenant: Any, submit: Callable[..., Any]) -> None:
    job = submit()
    known = {**tenant.read, "Prefer": "respond-async, wait=1", "If-None-Match": f'"{job["version"]}"'}
    started = time.monotonic()
    assert client.get(f"/v1/jobs/{job['id']}", headers=known).status_code == 304
    assert 0.9 < time.monotonic() - started < 3


def test_long_poll_answers_at_once_when_there_is_news(
    client: TestClient, tenant: Any, submit: Callable[..., Any], change_job: Callable[..., None]
) -> None:
    job_id = submit()["id"]
    started = time.monotonic()
    news = client.get(f"/v1/jobs/{job_id}", headers={**tenant.read, "Prefer": "wait=20", "If-None-Match": '"0"'})
    change_job(job_id, state="succeeded")
    ended = client.get(f"/v1/jobs/{job_id}", headers={**tenant.read, "Prefer": "wait=20", "If-None-Match": '"2"'})
    assert (news.status_code, ended.status_code) == (200, 304)
    assert time.monotonic() - started < 2


def test_change_is_found_when_no_notification_comes(
    client: TestClient, tenant: Any, submit: Callable[..., Any], database: Database
) -> None:
    job_id = submit()["id"]

    def delete() -> None:
        with database.transaction() as session:
            session.delete(session.get(Job, UUID(job_id)))

    thread = _later(0.2, delete)
    answer = client.get(f"/v1/jobs/{job_id}", headers={**tenant.read, "Prefer": "wait=20"})
    thread.join()
    assert answer.status_code == 404


def test_queued_job_ends_at_once_when_cancelled(client: TestClient, tenant: Any, submit: Callable[..., Any]) -> None:
    job_id = submit()["id"]
    first = client.post(f"/v1/jobs/{job_id}:cancel", headers=tenant.write)
    again = client.post(f"/v1/jobs/{job_id}:cancel", headers=tenant.write)
    assert (first.status_code, again.status_code) == (202, 202)
    assert first.json()["state"] == "cancelled"
    assert first.json()["finished_at"] is not None
    assert again.json() == first.json()


def test_flag_is_set_when_a_running_job_is_cancelled(
    client: TestClient, tenant: Any, submit: Callable[..., Any], change_job: Callable[..., None], database: Database
) -> None:
    job_id = submit()["id"]
    change_job(job_id, state="running", epoch=1)
    assert client.post(f"/v1/jobs/{job_id}:cancel", headers=tenant.write).json()["state"] == "cancelling"
    with database.transaction() as session:
        job = session.get(Job, UUID(job_id))
        assert (job.cancel_requested, job.epoch) == (True, 1)


@pytest.mark.parametrize("state", ["succeeded", "failed"])
def test_cancel_is_refused_when_the_job_has_ended(
    client: TestClient, tenant: Any, submit: Callable[..., Any], change_job: Callable[..., None], state: str
) -> None:
    job_id = submit()["id"]
    change_job(job_id, state=state)
    answer = client.post(f"/v1/jobs/{job_id}:cancel", headers=tenant.write)
    assert (answer.status_code, answer.json()["code"]) == (409, "job_ended")


def test_budget_grows_when_a_running_job_is_extended(
    client: TestClient, tenant: Any, submit: Callable[..., Any], change_job: Callable[..., None]
) -> None:
    job = submit(budget={"seconds": 60, "trials": 10})
    change_job(job["id"], state="running")
    answer = client.post(f"/v1/jobs/{job['id']}:extend", json={"seconds": 30, "trials": 5}, headers=tenant.write)
    assert answer.status_code == 202
    assert answer.json()["id"] == job["id"]
    assert answer.json()["spec"]["budget"] == {"seconds": 90, "trials": 15}
    assert answer.json()["version"] == job["version"] + 2


def test_a_new_job_goes_on_when_an_ended_one_is_extended(
    client: TestClient, tenant: Any, submit: Callable[..., Any], change_job: Callable[..., None]
) -> None:
    job = submit(budget={"seconds": 60}, name="base", labels={"a": "b"})
    change_job(job["id"], state="succeeded", used_s=61.5)
    answer = client.post(f"/v1/jobs/{job['id']}:extend", json={"seconds": 30}, headers=tenant.write)
    child = answer.json()
    assert answer.headers["location"] == f"/v1/jobs/{child['id']}"
    assert (child["parent_job_id"], child["state"], child["used_seconds"]) == (job["id"], "queued", 60)
    assert child["spec"] == {**job["spec"], "budget": {"seconds": 90, "trials": None}}
    kept = client.delete(f"/v1/jobs/{job['id']}", headers=tenant.write)
    assert (kept.status_code, kept.json()["code"]) == (409, "job_needed")


@pytest.mark.parametrize(
    ("body", "pointer"), [({}, ""), ({"trials": 5}, "/trials"), ({"seconds": 86_400}, "/seconds"), ({"x": 1}, "/x")]
)
def test_extend_is_refused_when_it_adds_nothing_sensible(
    client: TestClient, tenant: Any, submit: Callable[..., Any], body: dict[str, Any], pointer: str
) -> None:
    answer = client.post(f"/v1/jobs/{submit()['id']}:extend", json=body, headers=tenant.write)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == pointer


def test_delete_is_refused_until_the_job_has_ended(
    client: TestClient, tenant: Any, submit: Callable[..., Any], change_job: Callable[..., None],
    add_model: Callable[..., UUID], app: Any,
) -> None:  # fmt: skip
    job_id = submit()["id"]
    assert client.delete(f"/v1/jobs/{job_id}", headers=tenant.write).json()["code"] == "job_not_ended"
    change_job(job_id, state="succeeded")
    model_id = add_model(job_id)
    bundle = app.state.blobs.path(f"jobs/{job_id}/1/model.zip")
    assert bundle.exists()
    assert client.delete(f"/v1/jobs/{job_id}", headers=tenant.write).status_code == 204
    assert client.get(f"/v1/jobs/{job_id}", headers=tenant.read).status_code == 404
    assert client.get(f"/v1/models/{model_id}", headers=tenant.read).status_code == 404
    assert not bundle.exists()


def test_submit_is_refused_when_the_queue_quota_is_used(
    client: TestClient, tenant: Any, dataset_id: UUID, submit: Callable[..., Any]
) -> None:
    path = f"/v1/projects/{tenant.project_id}"
    client.patch(path, json={"quotas": {"queued_jobs": 2}}, headers=tenant.operator)
    first = submit()
    submit()
    body = {"dataset_id": str(dataset_id), "target": "income"}
    answer = client.post("/v1/jobs", json=body, headers=tenant.write)
    assert (answer.status_code, answer.json()["code"]) == (429, "quota_queued_jobs")
    assert answer.headers["retry-after"] == "30"
    client.post(f"/v1/jobs/{first['id']}:cancel", headers=tenant.write)
    submit()


def test_leaderboard_marks_trials_that_none_beats_in_score_speed_and_size(
    client: TestClient, tenant: Any, submit: Callable[..., Any], add_trial: Callable[..., None]
) -> None:
    job_id = submit()["id"]
    costs = [(0.10, (5.0, 5.0)), (0.20, (6.0, 1.0)), (0.20, (6.0, 1.0)), (0.30, (6.0, 1.0)), (0.40, (0.1, 5.0))]
    for number, (loss, cost) in enumerate(costs):
        add_trial(job_id, number, loss, cost=cost)
    items = client.get(f"/v1/jobs/{job_id}/leaderboard", headers=tenant.read).json()["items"]
    assert [item["is_pareto"] for item in items] == [True, True, True, False, True]
    assert (items[0]["predict_ms_per_row"], items[0]["megabytes"]) == (5.0, 5.0)


def test_leaderboard_ranks_full_trials_when_some_are_partial_or_failed(
    client: TestClient, tenant: Any, submit: Callable[..., Any], add_trial: Callable[..., None],
    add_model: Callable[..., UUID],
) -> None:  # fmt: skip
    job_id = submit()["id"]
    add_trial(job_id, 0, 0.30)
    add_trial(job_id, 1, 0.20)
    add_trial(job_id, 2, 0.10, rows=0.25)
    add_trial(job_id, 3, 0.05, folds=1)
    add_trial(job_id, 4, None, status="crashed")
    model_id = add_model(job_id)
    board = client.get(f"/v1/jobs/{job_id}/leaderboard", headers=tenant.read).json()
    assert (board["metric"], board["model_id"]) == ("roc_auc", str(model_id))
    assert [(row["rank"], row["trial"], row["weight"]) for row in board["items"]] == [(1, 1, 1.0), (2, 0, 0.0)]
    trials = client.get(f"/v1/jobs/{job_id}/trials", params={"limit": 2}, headers=tenant.read).json()
    assert [trial["number"] for trial in trials["items"]] == [0, 1]
    rest = client.get(f"/v1/jobs/{job_id}/trials", params={"cursor": trials["next_cursor"]}, headers=tenant.read).json()
    assert [(trial["number"], trial["status"]) for trial in rest["items"]][-1] == (4, "crashed")
