"""Uploads: what is stored, what is refused, and that nothing stays of what failed."""

from __future__ import annotations

import errno
import gzip
import hashlib
import threading
import time
from pathlib import Path
from uuid import UUID

import pytest
from sqlalchemy import update

from app.datasets.tables import Dataset
from app.projects.tables import Project


def test_stores_a_table_when_body_is_csv(post, csv, client, tenant, app):
    response = post(csv, params={"name": "people"})
    assert response.status_code == 201, response.text
    body = response.json()
    assert response.headers["Location"] == f"/v1/datasets/{body['id']}"
    assert response.headers["ETag"] == '"1"'
    assert (body["name"], body["format"], body["rows"]) == ("people", "csv", 60)
    assert (body["sha256"], body["upload_bytes"]) == (hashlib.sha256(csv).hexdigest(), len(csv))
    assert [column["kind"] for column in body["columns"]] == ["number", "category", "number"]
    assert client.get(response.headers["Location"], headers=tenant.read).json() == body
    assert app.state.blobs.path(f"datasets/{body['id']}/table.parquet").stat().st_size == body["stored_bytes"]
    assert list(app.state.settings.scratch.iterdir()) == []


def test_takes_the_name_of_the_file_when_none_is_given(post, csv):
    disposition = {"Content-Disposition": 'attachment; filename="../../etc/people.csv"'}
    assert post(csv, headers=disposition).json()["name"] == "people.csv"
    assert post(csv).json()["name"] == "dataset"


def test_stores_the_same_table_when_body_is_a_form(client, tenant, csv):
    files = {"file": ("päople.csv.gz", gzip.compress(csv), "text/csv")}
    body = client.post("/v1/datasets", files=files, headers=tenant.write).json()
    assert (body["name"], body["rows"]) == ("päople.csv.gz", 60)


@pytest.mark.parametrize(
    "files",
    [
        [("a", ("a.csv", b"x,y\n1,2\n")), ("b", ("b.csv", b"x,y\n1,2\n"))],
        [("a", (None, b"no file"))],
    ],
)
def test_refuses_when_form_is_not_one_file(client, tenant, assert_nothing_left, files):
    response = client.post("/v1/datasets", files=files, headers=tenant.write)
    assert (response.status_code, response.json()["code"]) == (422, "invalid_request")
    assert_nothing_left()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"--b\r\n",
        b"--b\r\nContent-Disposition: form-data; name=f; filename=f\r\n\r\nx,y\n1,2\n",
        b"junk",
        b"--b--\r\n",
    ],
)
def test_refuses_when_form_is_broken(post, assert_nothing_left, body):
    response = post(body, headers={"Content-Type": "multipart/form-data; boundary=b"})
    assert (response.status_code, response.json()["code"]) == (422, "invalid_request")
    assert_nothing_left()


@pytest.mark.parametrize(
    ("content", "status", "code"),
    [
        (b"", 422, "empty_file"),
        (b"a,b\n", 422, "no_rows"),
        (b"a,b\n1,2,3\n4,5\n", 422, "ragged_rows"),
        (gzip.compress(b"0" * 30_000_000, mtime=0), 413, "compression_ratio"),
        (b"\0\1\2" * 100, 422, "nul_bytes"),
    ],
)
def test_answers_with_the_readers_code_when_file_is_no_table(post, assert_nothing_left, content, status, code):
    response = post(content)
    assert (response.status_code, response.json()["code"]) == (status, code)
    assert response.headers["Content-Type"] == "application/problem+json"
    assert_nothing_left()


def test_refuses_when_upload_is_too_large(post, app, assert_nothing_left):
    app.state.settings = app.state.settings.model_copy(update={"upload_max_bytes": 10_000})
    response = post(iter([b"a,b\n"] + [b"1,2\n" * 1000] * 5))
    assert (response.status_code, response.json()["code"]) == (413, "too_large")
    assert "10,000 bytes" in response.json()["detail"]
    assert_nothing_left()


def test_refuses_at_once_when_declared_length_is_too_large(open_upload):
    connection = open_upload("Content-Length: 999999999999999")
    assert b"413" in connection.recv(100).split(b"\r\n")[0]


def test_refuses_when_project_is_full(post, database, tenant, assert_nothing_left):
    with database.transaction() as session:
        session.execute(update(Project).where(Project.id == tenant.project_id).values(quotas={"bytes": 100}))
    response = post()
    assert (response.status_code, response.json()["code"]) == (429, "quota_bytes")
    assert_nothing_left()


def test_answers_507_when_disk_is_full(post, monkeypatch, assert_nothing_left):
    def fail(sink: object, data: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("app.datasets.upload._Sink._write", fail)
    response = post()
    assert (response.status_code, response.json()["code"]) == (507, "storage_full")
    assert_nothing_left()


def test_leaves_no_blob_when_the_row_can_not_be_written(post, monkeypatch, assert_nothing_left):
    def fail(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("app.datasets.service.add_dataset", fail)
    assert post().status_code == 507
    assert_nothing_left()


def test_makes_one_dataset_when_key_is_repeated(post, csv, client, tenant):
    key = {"Idempotency-Key": "k1"}
    first, second = post(csv, headers=key), post(csv, headers=key)
    assert (first.status_code, second.status_code) == (201, 201)
    assert first.json() == second.json()
    assert second.headers["Location"] == first.headers["Location"]
    assert len(client.get("/v1/datasets", headers=tenant.read).json()["items"]) == 1
    changed = post(csv + b"1,x,2\n", headers=key)
    assert (changed.status_code, changed.json()["code"]) == (422, "idempotency_mismatch")


def test_makes_one_dataset_when_key_is_used_at_the_same_time(post, csv, client, tenant, app):
    answers = []
    threads = [
        threading.Thread(target=lambda: answers.append(post(csv, headers={"Idempotency-Key": "k2"}))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {answer.json()["id"] for answer in answers} == {answers[0].json()["id"]}
    assert len(client.get("/v1/datasets", headers=tenant.read).json()["items"]) == 1
    assert len(app.state.blobs.children("datasets")) == 1


def test_needs_the_write_scope_when_uploading(client, tenant, csv):
    assert client.post("/v1/datasets", content=csv, headers=tenant.read).status_code == 403
    assert client.post("/v1/datasets", content=csv).status_code == 401


def test_leaves_nothing_when_upload_is_truncated(open_upload, assert_nothing_left, database):
    connection = open_upload("Content-Length: 1000000")
    connection.sendall(b"a,b\n" + b"1,2\n" * 1000)
    time.sleep(0.2)
    connection.close()
    _wait_until(assert_nothing_left)
    with database.transaction() as session:
        assert session.query(Dataset).count() == 0


def test_cuts_when_nothing_comes(open_upload, app, assert_nothing_left):
    app.state.settings = app.state.settings.model_copy(update={"upload_idle_s": 0.3})
    connection = open_upload("Content-Length: 1000000")
    connection.sendall(b"a,b\n")
    answer = connection.recv(10_000)
    assert answer.startswith(b"HTTP/1.1 408")
    assert b"Nothing came for 0.3 s" in answer
    _wait_until(assert_nothing_left)


def test_cuts_when_bytes_drip(open_upload, monkeypatch, assert_nothing_left):
    monkeypatch.setattr("app.datasets.upload._RATE_WINDOW_S", 0.5)
    connection = open_upload("Content-Length: 1000000")
    for _ in range(40):
        try:
            connection.sendall(b"a")
        except OSError:
            break
        time.sleep(0.05)
    assert connection.recv(10_000).startswith(b"HTTP/1.1 408")
    _wait_until(assert_nothing_left)


def test_memory_stays_small_when_upload_is_large(open_upload, app, monkeypatch):
    """The body streams through: 300 MB come in, and the process grows by less than 64."""
    stored = []

    def read(upload, parquet, settings, *, header):
        stored.append(upload.bytes)
        raise OSError(errno.ENOSPC, "enough seen")

    monkeypatch.setattr("app.datasets.service.read_table", read)
    connection = open_upload("Content-Length: 300000000")
    block, before, peak = b"1,2,3,4\n" * 125_000, _resident_mb(), 0.0
    for _ in range(300):
        connection.sendall(block)
        peak = max(peak, _resident_mb())
    assert connection.recv(1000).startswith(b"HTTP/1.1 507")
    assert stored == [300_000_000]
    assert peak - before < 64


def test_removes_old_scratch_and_orphans_when_processes_were_killed(post, app, database, monkeypatch):
    from app.datasets.service import collect_orphans

    stale = app.state.settings.scratch / "upload-dead"
    stale.mkdir(parents=True)
    kept = UUID(post().json()["id"])
    app.state.blobs.put_stream(f"datasets/{'0' * 8}-0000-7000-8000-{'0' * 12}/table.parquet", iter([b"x"]))
    monkeypatch.setattr("app.datasets.service._STALE_S", -1)
    monkeypatch.setattr("app.datasets.service._ORPHAN_S", -1)
    assert collect_orphans(database, app.state.blobs) == 1
    assert app.state.blobs.children("datasets") == [str(kept)]
    post()
    assert not stale.exists()


def _resident_mb() -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS"))


def _wait_until(check) -> None:
    for _ in range(100):
        try:
            check()
        except AssertionError:
            time.sleep(0.05)
        else:
            return
    check()
