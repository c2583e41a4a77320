"""Datasets: list, show, profile, preview, change, delete."""

from __future__ import annotations

import pytest


@pytest.fixture
def made(post):
    """A dataset, as its upload answered."""
    return post(params={"name": "people"}).json()


def test_lists_newest_first_when_there_are_pages(post, client, tenant):
    ids = [post().json()["id"] for _ in range(3)]
    first = client.get("/v1/datasets", params={"limit": 2}, headers=tenant.read).json()
    rest = client.get("/v1/datasets", params={"limit": 2, "cursor": first["next_cursor"]}, headers=tenant.read).json()
    assert [item["id"] for item in first["items"] + rest["items"]] == ids[::-1]
    assert rest["next_cursor"] is None
    assert first["items"][0]["n_columns"] == 3


def test_answers_304_when_client_has_it(made, client, tenant):
    path = f"/v1/datasets/{made['id']}"
    response = client.get(path, headers=tenant.read)
    for place in (path, f"{path}/profile"):
        again = client.get(place, headers={**tenant.read, "If-None-Match": response.headers["ETag"]})
        assert (again.status_code, again.content) == (304, b"")


def test_shows_statistics_when_profile_is_asked(made, client, tenant):
    profile = client.get(f"/v1/datasets/{made['id']}/profile", headers=tenant.read).json()
    assert (profile["rows"], profile["columns"]["age"]["min"]) == (60, 20)
    assert profile["alerts"] == made["alerts"]


def test_shows_rows_when_preview_is_asked(made, client, tenant):
    preview = client.get(f"/v1/datasets/{made['id']}/preview", params={"limit": 2}, headers=tenant.read).json()
    assert preview == {"columns": ["age", "job", "income"], "rows": [[20, "clerk", 0], [21, "nurse", 1]]}


def test_shows_every_type_when_preview_is_asked(post, client, tenant):
    made = post(b"d,x,b,t\n2020-01-31,inf,true," + b"y" * 900 + b"\n,,,\n2020-02-01 10:00:00,1.5,false,z\n").json()
    rows = client.get(f"/v1/datasets/{made['id']}/preview", headers=tenant.read).json()["rows"]
    assert rows == [
        ["2020-01-31T00:00:00", "inf", True, "y" * 500],
        [None, None, None, None],
        ["2020-02-01T10:00:00", 1.5, False, "z"],
    ]


def test_changes_kinds_when_patched(made, client, tenant):
    path = f"/v1/datasets/{made['id']}"
    changed = client.patch(path, json={"kinds": {"income": "category"}, "name": "folk"}, headers=tenant.write)
    assert (changed.status_code, changed.headers["ETag"]) == (200, '"2"')
    body = client.get(path, headers=tenant.read).json()
    assert body == changed.json()
    income = body["columns"][2]
    assert (body["name"], income["kind"], income["detected_kind"]) == ("folk", "category", "number")
    back = client.patch(path, json={"kinds": {"income": None}}, headers=tenant.write).json()
    assert (back["columns"][2]["kind"], back["version"]) == ("number", 3)


def test_keeps_the_version_when_nothing_changes(made, client, tenant):
    answer = client.patch(f"/v1/datasets/{made['id']}", json={"kinds": {"age": "number"}}, headers=tenant.write)
    assert answer.json()["version"] == 1


@pytest.mark.parametrize(
    ("kinds", "pointer", "words"),
    [
        ({"a/b": "text"}, "/kinds/a~1b", "There is no column 'a/b'."),
        ({"job": "number"}, "/kinds/job", "it holds 'clerk'"),
        ({"job": "boolean"}, "/kinds/job", "it holds 'clerk'"),
        ({"job": "datetime"}, "/kinds/job", "can't be dates"),
        ({"job": "wrong"}, "/kinds/job", "Input should be"),
    ],
)
def test_points_at_the_column_when_kind_is_wrong(made, client, tenant, kinds, pointer, words):
    answer = client.patch(f"/v1/datasets/{made['id']}", json={"kinds": kinds}, headers=tenant.write)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == pointer
    assert words in answer.json()["errors"][0]["detail"]


def test_refuses_when_if_match_is_stale(made, client, tenant):
    path = f"/v1/datasets/{made['id']}"
    body = {"kinds": {"income": "category"}}
    assert client.patch(path, json=body, headers={**tenant.write, "If-Match": '"1"'}).status_code == 200
    assert client.patch(path, json=body, headers={**tenant.write, "If-Match": '"1"'}).status_code == 412


def test_is_gone_when_deleted(made, client, tenant, app):
    path = f"/v1/datasets/{made['id']}"
    assert client.delete(path, headers=tenant.write).status_code == 204
    assert client.delete(path, headers=tenant.write).status_code == 404
    assert client.get(path, headers=tenant.read).status_code == 404
    assert client.get("/v1/datasets", headers=tenant.read).json()["items"] == []
    assert app.state.blobs.children("datasets") == []


def test_stays_when_an_unfinished_job_uses_it(made, client, tenant, change_job):
    job = client.post("/v1/jobs", json={"dataset_id": made["id"], "target": "job"}, headers=tenant.write).json()
    answer = client.delete(f"/v1/datasets/{made['id']}", headers=tenant.write)
    assert (answer.status_code, answer.json()["code"]) == (409, "dataset_in_use")
    change_job(job["id"], state="succeeded")
    assert client.delete(f"/v1/datasets/{made['id']}", headers=tenant.write).status_code == 204


@pytest.mark.parametrize(
    ("method", "path"), [("GET", ""), ("GET", "/profile"), ("GET", "/preview"), ("PATCH", ""), ("DELETE", "")]
)
def test_answers_404_when_dataset_is_another_projects(made, client, make_tenant, method, path):
    other = make_tenant("other")
    answer = client.request(
        method, f"/v1/datasets/{made['id']}{path}", headers=other.write, **({"json": {}} if method == "PATCH" else {})
    )
    missing = client.get("/v1/datasets/00000000-0000-7000-8000-000000000000", headers=other.read)
    assert answer.status_code == 404
    assert {**answer.json(), "request_id": ""} == {**missing.json(), "request_id": ""}


def test_warns_when_a_column_gives_the_target_away(post, client, tenant):
    rows = "".join(f"{'yes' if n % 3 else 'no'},{n % 3 * 7 + 1},{n * 37 % 101}\n" for n in range(300))
    made = post(f"bought,receipt,age\n{rows}".encode()).json()
    body = {"dataset_id": made["id"], "target": "bought"}
    alerts = client.post("/v1/jobs:validate", json=body, headers=tenant.write).json()["alerts"]
    assert [(alert["code"], alert["column"]) for alert in alerts] == [("leaking", "receipt")]
    body["features"] = {"exclude": ["receipt"]}
    assert client.post("/v1/jobs:validate", json=body, headers=tenant.write).json()["alerts"] == []
