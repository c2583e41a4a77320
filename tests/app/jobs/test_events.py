"""The event stream: replay, what comes later, the end."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from fastapi.testclient import TestClient

from app.jobs import watch


def _parse(text: str) -> list[dict[str, str]]:
    """The events of a stream; comments are events without fields."""
    events = []
    for block in text.replace("\r\n", "\n").strip().split("\n\n"):
        pairs = (line.partition(": ") for line in block.split("\n") if not line.startswith(":"))
        events.append({name: value for name, _, value in pairs})
    return events


def _ids(text: str) -> list[int]:
    return [int(event["id"]) for event in _parse(text) if "id" in event]


@pytest.fixture
def ended(submit: Callable[..., Any], change_job: Callable[..., None]) -> str:
    """A job with ten events, the last of which ends it."""
    job_id = submit()["id"]
    change_job(job_id, state="running")
    for n in range(7):
        change_job(job_id, progress={"trials": n})
    change_job(job_id, state="succeeded")
    return job_id


def test_everything_is_replayed_when_the_job_has_ended(client: TestClient, tenant: Any, ended: str) -> None:
    answer = client.get(f"/v1/jobs/{ended}/events", headers=tenant.read)
    assert answer.headers["content-type"].startswith("text/event-stream")
    events = _parse(answer.text)
    assert events[0] == {"retry": "2000"}
    assert _ids(answer.text) == list(range(1, 11))
    assert json.loads(events[1]["data"])["state"] == "queued"
    assert json.loads(events[-2]["data"])["state"] == "succeeded"
    assert events[-1]["event"] == "end"


def test_stream_goes_on_after_the_last_event_id(client: TestClient, tenant: Any, ended: str) -> None:
    answer = client.get(f"/v1/jobs/{ended}/events", headers={**tenant.read, "Last-Event-ID": "6"})
    assert _ids(answer.text) == [7, 8, 9, 10]


def test_client_is_told_to_stop_when_it_has_everything(client: TestClient, tenant: Any, ended: str) -> None:
    answer = client.get(f"/v1/jobs/{ended}/events", headers={**tenant.read, "Last-Event-ID": "10"})
    assert answer.status_code == 204


def test_events_come_once_and_in_order_when_many_follow_the_job(
    client: TestClient, tenant: Any, submit: Callable[..., Any], change_job: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(watch, "_TAIL", 3)  # so that late streams read the database
    job_id = submit()["id"]
    texts: list[str] = []

    def follow(after: int) -> None:
        headers = {**tenant.read, "Last-Event-ID": str(after)}
        texts.append(client.get(f"/v1/jobs/{job_id}/events", headers=headers).text)

    threads = [threading.Thread(target=follow, args=(0,)) for _ in range(4)]
    for n, thread in enumerate(threads):
        thread.start()
        for step in range(5):
            change_job(job_id, progress={"trials": 10 * n + step})
    change_job(job_id, state="failed", error={"code": "x", "detail": "y"})
    for thread in threads:
        thread.join()
    assert [_ids(text) for text in texts] == [list(range(1, 23))] * 4


def test_heartbeats_are_sent_when_nothing_happens(
    client: TestClient, tenant: Any, submit: Callable[..., Any], change_job: Callable[..., None], app: Any
) -> None:
    app.state.watch._settings = app.state.settings.model_copy(update={"sse_heartbeat_s": 0.1})
    job_id = submit()["id"]
    thread = threading.Thread(target=lambda: (time.sleep(0.7), change_job(job_id, state="succeeded")))
    thread.start()
    text = client.get(f"/v1/jobs/{job_id}/events", headers=tenant.read).text
    thread.join()
    assert text.count(": still here") >= 3


@pytest.mark.parametrize("value", ["x", "-1", "9" * 30])
def test_answer_is_422_when_the_last_event_id_is_no_number(
    client: TestClient, tenant: Any, ended: str, value: str
) -> None:
    answer = client.get(f"/v1/jobs/{ended}/events", headers={**tenant.read, "Last-Event-ID": value})
    assert answer.status_code == 422
