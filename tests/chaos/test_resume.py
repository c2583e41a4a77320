"""What a job keeps when it is interrupted, extended or looked at while it runs."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.client import make_table, slow
from tests.chaos.harness import IS_FULL, MARKS, House

pytestmark = MARKS
TRIALS = 8
SEEDED = {
    "budget": {"seconds": None, "trials": TRIALS},
    "algorithms": {"include": ["linear", "naive_bayes", "nearest_neighbours", "slow"]},
    "seed": 7,
}


def _rows(count: int) -> list[dict[str, Any]]:
    """Rows that no model was trained on, as JSON has them."""
    read = csv.DictReader(io.StringIO(make_table(count, seed=9).decode()))
    return [
        {"age": int(row["age"]), "job": row["job"], "debt": float(row["debt"]) if row["debt"] else None} for row in read
    ]


def _predict(house: House, job_id: str, rows: list[dict[str, Any]]) -> list[float]:
    model_id = house.client.job(job_id)["model_id"]
    answer = house.client.ask("POST", f"/v1/models/{model_id}/predictions", json={"rows": rows})
    return [one["yes"] for one in answer["probabilities"]]


def _outcome(house: House, job_id: str) -> tuple[Any, ...]:
    """What must not depend on anything but seed and budget."""
    items = house.client.ask("GET", f"/v1/jobs/{job_id}/leaderboard")["items"]
    board = [(item["trial"], item["loss"], item["configuration"], item["weight"]) for item in items]
    return board, _predict(house, job_id, _rows(30)), house.client.job(job_id)["reproducible"]


@pytest.fixture(scope="module")
def undisturbed(running: House, dataset_id: str) -> tuple[Any, ...]:
    """How the seeded job ends when nothing happens."""
    job_id = running.client.submit(dataset_id, **SEEDED)
    running.wait_ended([job_id], 90)
    return _outcome(running, job_id)


@pytest.mark.parametrize("victim", [None, "runner", "worker"])
def test_the_same_seed_gives_the_same_models_also_when_the_job_is_interrupted(
    victim: str | None, house: House, dataset_id: str, undisturbed: tuple[Any, ...]
) -> None:
    job_id = house.client.submit(dataset_id, **SEEDED)
    before: list[tuple[Any, ...]] = []
    if victim is not None:
        name = house.wait_running(job_id, told=3)
        house.kill(name) if victim == "worker" else house.kill_runners(name)
        before = house.told(job_id)
        assert 3 <= len(before) < TRIALS
    house.wait_ended([job_id], 90)
    assert house.attempts(job_id) == (1 if victim is None else 2)
    told = house.told(job_id)
    assert all(trial in told for trial in before), "a finished trial was repeated"
    assert undisturbed[2] is True
    assert _outcome(house, job_id) == undisturbed
    assert house.check([job_id])["succeeded"] == 1


def test_a_running_job_has_a_model_and_takes_more_budget(house: House, dataset_id: str) -> None:
    spec = slow(trials=3)
    job_id = house.client.submit(dataset_id, **spec)
    house.wait_running(job_id)
    house.client.ask("POST", f"/v1/jobs/{job_id}:extend", json={"trials": spec["budget"]["trials"]})
    model_id = house.wait(lambda: house.client.job(job_id)["model_id"], 30)
    bundle = house.client.get(f"/v1/models/{model_id}/bundle")
    assert house.states([job_id]) == {job_id: "running"}
    assert zipfile.ZipFile(io.BytesIO(bundle.content)).testzip() is None
    house.wait_ended([job_id], 60)
    assert len(house.told(job_id)) == 2 * spec["budget"]["trials"]
    assert house.check([job_id])["succeeded"] == 1


def test_an_ended_job_is_extended_by_one_that_replays_its_trials(house: House, dataset_id: str) -> None:
    parent = house.client.submit(dataset_id)
    house.wait_ended([parent], 60)
    child = house.client.ask("POST", f"/v1/jobs/{parent}:extend", json={"trials": 2})
    assert child["parent_job_id"] == parent
    house.wait_ended([child["id"]], 60)
    told, replayed = house.told(parent), house.told(child["id"])
    assert [(row[0], row[2], row[3]) for row in replayed[: len(told)]] == [(row[0], row[2], row[3]) for row in told]
    assert len(replayed) == len(told) + 2
    assert house.check([parent, child["id"]])["succeeded"] == 2


def test_a_finished_job_leaves_its_trials_to_knowledge(house: House, dataset_id: str) -> None:
    job_id = house.client.submit(dataset_id)
    house.wait_ended([job_id], 60)
    count = "SELECT count(*) FROM knowledge_evaluations WHERE job_id = %s"
    house.wait(lambda: house.rows(count, job_id) == [(3,)], 20)


def test_a_row_has_one_answer_alone_in_a_batch_and_from_the_bundle(
    house: House, dataset_id: str, tmp_path: Path
) -> None:
    job_id = house.client.submit(dataset_id, algorithms={"include": ["linear", "naive_bayes", "nearest_neighbours"]})
    house.wait_ended([job_id], 60)
    rows = _rows(1000)
    batch = _predict(house, job_id, rows)
    alone = [_predict(house, job_id, [row])[0] for row in (rows if IS_FULL else rows[::20])]
    bundle = house.client.get(f"/v1/models/{house.client.job(job_id)['model_id']}/bundle")
    with zipfile.ZipFile(io.BytesIO(bundle.content)) as file:
        file.extractall(tmp_path / "bundle")
    (tmp_path / "rows.json").write_text(json.dumps(rows))
    answer = json.loads(_run_bare(tmp_path, tmp_path / "bundle" / "predict.py"))
    from_bundle = [one["yes"] for one in answer["probabilities"]]
    assert from_bundle == pytest.approx(batch, abs=1e-6)
    assert alone == pytest.approx(batch if IS_FULL else batch[::20], abs=1e-6)


def _run_bare(folder: Path, script: Path) -> str:
    """Run it where this repository can't be imported: isolated, elsewhere, and checked at its end."""
    code = f"""
import runpy, sys
sys.path = [place for place in sys.path if 'site-packages' in place or 'lib/python' in place]
sys.meta_path.insert(0, type('Refuse', (), {{'find_spec': staticmethod(lambda name, *_: (_ for _ in ()).throw(
    ImportError(name)) if name.partition('.')[0] in ('workers', 'app') else None)}}))
sys.argv = [{str(script)!r}, '--format', 'json', {str(folder / "rows.json")!r}]
try:
    runpy.run_path({str(script)!r}, run_name='__main__')
finally:
    assert not {{'workers', 'app'}} & set(sys.modules)
"""
    done = subprocess.run([sys.executable, "-I", "-c", code], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout
