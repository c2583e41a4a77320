"""The `warmstart` command, as people type it."""

from __future__ import annotations

import csv
import io
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from typer.testing import CliRunner, Result

from app.cli import app
from app.client import Client, ClientError
from app.database import Database
from app.migrate import is_current
from app.security import KeyScope, find_caller, hash_secret
from app.settings import Settings, get_settings
from tests.waiting import wait_for

PENGUINS = Path(__file__).parents[3] / "app" / "local" / "data" / "penguins.csv"
_HEAVY = {"torch", "sklearn", "pandas", "lightgbm", "catboost", "skops", "sqlalchemy", "fastapi", "celery"}
Run = Callable[..., Result]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    """Types a command; WARMSTART_ variables are those that are given, and nothing else."""
    for name in Settings.model_fields:
        monkeypatch.delenv(f"WARMSTART_{name.upper()}", raising=False)

    def type_in(*words: str, **variables: str) -> Result:
        get_settings.cache_clear()
        environment = {f"WARMSTART_{name.upper()}": value for name, value in variables.items()}
        return CliRunner().invoke(app, words, env={"COLUMNS": "200", **environment})

    yield type_in
    get_settings.cache_clear()


@pytest.fixture
def use(run: Run, stack: Any) -> Run:
    """Types a command of the client's; it must succeed."""

    def type_in(*words: str) -> Result:
        result = run(*words, url=stack.url, key=stack.key)
        assert result.exit_code == 0, result.output
        return result

    return type_in


def test_help_imports_nothing_heavy() -> None:
    code = "import sys, app.cli; print(*{name.partition('.')[0] for name in sys.modules})"
    imported = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert _HEAVY & set(imported) == set()


def test_settings_are_all_listed(run: Run) -> None:
    listed = run("settings", "--markdown").stdout
    assert re.findall(r"`(WARMSTART_\w+)`", listed) == [f"WARMSTART_{name.upper()}" for name in Settings.model_fields]
    assert run("settings").stdout.count("WARMSTART_") >= len(Settings.model_fields)


def test_doctor_finds_nothing_wrong_when_all_is_installed(run: Run) -> None:
    result = run("doctor")
    assert "ok    database" in result.output
    assert "ok    broker" in result.output
    assert "package torch" in result.output


def test_doctor_says_what_to_do_when_servers_are_away_or_empty(run: Run, empty_url: str, tmp_path: Path) -> None:
    away = run(
        "doctor",
        "--servers",
        database_url=f"postgresql://x@/x?host={tmp_path}",
        broker_url=f"redis+socket://{tmp_path}/none.sock",
    )
    assert away.exit_code == 1
    assert away.output.count("can't be reached") == 2
    assert "warmstart migrate" in run("doctor", "--servers", database_url=empty_url).output


def test_migrate_makes_the_tables(run: Run, empty_url: str) -> None:
    assert run("migrate", database_url=empty_url).exit_code == 0
    assert is_current(empty_url)


def test_a_key_is_made_listed_and_revoked(run: Run, database: Database, database_url: str) -> None:
    made = run("keys", "create", "for CI [/]", "--project", "team", "--scope", "read", database_url=database_url)
    secret = made.stdout.strip()
    caller = find_caller(database, hash_secret(secret))
    assert caller is not None
    assert caller.has(KeyScope.READ)
    assert not caller.has(KeyScope.WRITE)
    listed = run("keys", "list", "--project", "team", database_url=database_url).stdout
    assert "for CI [/]" in listed
    assert secret not in listed
    revoke = ("keys", "revoke", str(caller.key_id), "--project")
    assert run(*revoke, "team", database_url=database_url).exit_code == 0
    assert find_caller(database, hash_secret(secret)) is None
    assert "No project is named 'other'" in run(*revoke, "other", database_url=database_url).output


@pytest.mark.parametrize(
    ("words", "advice"),
    [
        (("migrate",), "Set WARMSTART_DATABASE_URL"),
        (("keys", "create", "x", "--scope", "king"), "known: read, write, admin, operator"),
        (("jobs", "--key", "x", "--url", "http://127.0.0.1:9"), "Is `warmstart up` running?"),
        (("jobs",), "WARMSTART_KEY"),
        (("upload", "none.csv", "--key", "x"), "does not exist"),
        (("fit", "none.csv", "y", "--key", "x"), "none.csv"),
        (("fit", str(PENGUINS), "y", "--key", "x", "--spec", "{"), "--spec is not JSON"),
        (("fit", str(PENGUINS), "y", "--key", "x", "--spec", "[]"), "--spec is not a JSON object"),
    ],
    ids=lambda value: " ".join(value[:2]) if isinstance(value, tuple) else "",
)
def test_an_error_says_what_to_do(run: Run, words: tuple[str, ...], advice: str) -> None:
    result = run(*words)
    assert result.exit_code != 0
    assert advice in re.sub(r"[│\s]+", " ", result.output)
    assert not isinstance(result.exception, Exception) or isinstance(result.exception, SystemExit)


@pytest.mark.xdist_group("stack")
def test_a_table_becomes_a_model_and_predictions(use: Run, tmp_path: Path) -> None:
    spec = '{"budget": {"seconds": null, "trials": 2}, "algorithms": {"include": ["linear", "dummy"]}}'
    said = use("fit", str(PENGUINS), "species", "--metric", "accuracy", "--spec", spec).stdout
    assert "Leaderboard" in said
    assert "95 % interval" in said
    model_id = said.split()[-1]
    assert model_id in use("models").stdout
    digest = use("download", model_id, str(tmp_path / "model.zip")).stdout.strip()
    assert re.fullmatch("[0-9a-f]{64}", digest)
    rows = list(csv.DictReader(io.StringIO(use("predict", model_id, str(PENGUINS)).stdout)))
    assert len(rows) == 344
    assert set(rows[0]) == {"prediction", "Adelie", "Chinstrap", "Gentoo"}
    with PENGUINS.open(newline="") as file:
        known = [row["species"] for row in csv.DictReader(file)]
    assert sum(row["prediction"] == species for row, species in zip(rows, known, strict=True)) > 300


@pytest.mark.xdist_group("stack")
def test_knowledge_is_shown_explained_and_moved(use: Run, stack: Any, tmp_path: Path) -> None:
    spec = '{"budget": {"seconds": null, "trials": 2}, "algorithms": {"include": ["linear", "naive_bayes"]}}'
    use("fit", str(PENGUINS), "island", "--spec", spec)
    job_id = next(iter(stack.client.jobs()))["id"]
    explained = use("knowledge", "job", job_id).stdout
    assert "source" in explained
    assert "default" in explained
    wait_for(lambda: stack.client.knowledge()["own"]["tasks"], 30)  # it is left after the job has ended
    use("knowledge", "export", str(tmp_path / "k.zip"))
    tasks = stack.client.knowledge()["own"]["tasks"]
    assert f"{tasks} tasks" in use("knowledge", "import", str(tmp_path / "k.zip")).stdout
    assert stack.client.knowledge()["own"]["tasks"] == tasks
    assert "embedding" in use("knowledge", "show").stdout
    assert "are needed" in use("knowledge", "train").stdout


@pytest.mark.xdist_group("stack")
def test_a_job_is_cancelled_and_goes_on_as_another(use: Run, stack: Any) -> None:
    dataset_id = use("upload", str(PENGUINS), "--name", "[bold] birds").stdout.split()[-1]
    job_id = stack.client.create_job({"dataset_id": dataset_id, "target": "species", "budget": {"seconds": 60}})["id"]
    assert use("cancel", job_id).stdout.strip() in ("cancelling", "cancelled")
    stack.client.wait(job_id)
    assert "cancelled" in use("job", job_id).stdout
    longer = use("extend", job_id, "--seconds", "1").stdout.strip()
    assert stack.client.job(longer)["parent_job_id"] == job_id
    use("cancel", longer)
    assert job_id in use("jobs").stdout


@pytest.mark.xdist_group("stack")
def test_what_the_service_refuses_is_said(run: Run, stack: Any) -> None:
    for words, reason in ((("job", str(uuid4())), "No job"), (("fit", str(PENGUINS), "specie"), "'species'")):
        result = run(*words, url=stack.url, key=stack.key)
        assert result.exit_code == 1
        assert reason in result.output
    with Client(stack.url, "ws_wrong") as client, pytest.raises(ClientError):
        client.space()
    assert run("jobs", url=stack.url, key="ws_wrong").exit_code == 1
