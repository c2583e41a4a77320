"""`warmstart demo`: the whole road on a real table, on servers of its own, with nothing left running."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from rich.markup import escape

from app.cli import display
from app.client import Client, ClientError
from app.local.supervisor import Up, signals_to
from app.settings import Settings

TABLE = Path(__file__).with_name("data") / "penguins.csv"
TARGET = "species"
_TOLERANCE = 1e-6
console = display.console


class DemoFailed(RuntimeError):
    """A step did not do what it promises."""


def run(seconds: float) -> int:
    """Run all steps; 0 if every one did what it promises."""
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="warmstart-demo-") as name:
        folder = Path(name)
        try:
            with _service(folder) as client:
                model = _train(client, seconds)
                bundle = _download(client, model, folder)
                rows = _rows()
                served = client.predict(model["id"], rows)
            _compare(_predict_alone(bundle, rows), served)
        except (RuntimeError, ClientError, OSError, httpx.TransportError) as error:
            console.print(f"[red]The demo failed:[/] {escape(str(error))}", highlight=False)
            return 1
    console.print(f"[bold green]Done[/] in {time.monotonic() - begun:.0f} s; nothing is left running.")
    return 0


@contextmanager
def _service(folder: Path) -> Iterator[Client]:
    stack = Up(Settings(data_dir=folder / "data", port=0))
    _say("Starting PostgreSQL, Valkey, API, dispatcher, predictor and a worker")
    begun = time.monotonic()
    with signals_to(stack.stopping):
        stack.start()
        try:
            console.print(f"  ready after {time.monotonic() - begun:.1f} s at {stack.url}", highlight=False)
            with Client(stack.url, stack.key) as client:
                yield client
        finally:
            _say("Stopping everything")
            stack.close()


def _train(client: Client, seconds: float) -> dict[str, Any]:
    _say(f"Uploading {TABLE.name}: penguins near Palmer Station, numbers and categories, some cells missing (CC0)")
    dataset = client.upload(TABLE, name=TABLE.name)
    kinds = ", ".join(f"{column['name']} ({column['kind']})" for column in dataset["columns"])
    console.print(f"  {dataset['rows']} rows: {kinds}", highlight=False)
    _say(f"A job of {seconds:g} s: which species is it?")
    job = client.create_job({"dataset_id": dataset["id"], "target": TARGET, "budget": {"seconds": seconds}})
    job = display.follow(client, job["id"])
    if job["state"] != "succeeded":
        raise DemoFailed(f"the job {job['state']}: {job['error']}")
    console.print(display.leaderboard(client.leaderboard(job["id"])))
    model = client.model(job["model_id"])
    console.print(f"  Honest score: {display.score_line(model)}", highlight=False)
    return model


def _download(client: Client, model: dict[str, Any], folder: Path) -> Path:
    _say("Downloading the model as a bundle")
    path = folder / "model.zip"
    digest = client.download_bundle(model["id"], path)
    if digest != model["sha256"]:
        raise DemoFailed(f"the bundle's digest is {digest}, the service says {model['sha256']}")
    console.print(f"  {path.stat().st_size / 1e6:.1f} MB, SHA-256 {digest[:16]}… as the service says", highlight=False)
    return path


def _rows() -> list[dict[str, Any]]:
    with TABLE.open(newline="") as file:
        return [{name: value or None for name, value in row.items() if name != TARGET} for row in csv.DictReader(file)]


def _predict_alone(bundle: Path, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Predictions of the bundle in a virtual environment that holds only the bundle's own requirements."""
    _say("Predicting with the bundle alone, in an environment of its own")
    unpacked, environment = bundle.with_name("bundle"), bundle.with_name("bare")
    with zipfile.ZipFile(bundle) as file:
        file.extractall(unpacked)
    requirements = unpacked / "requirements.txt"
    console.print(f"  installing {', '.join(requirements.read_text().split())}", highlight=False)
    _command([sys.executable, "-m", "venv", "--without-pip", environment])
    python = environment / "bin" / "python"
    options = ["--quiet", "--no-compile", "--disable-pip-version-check"]
    _command([sys.executable, "-m", "pip", "--python", python, "install", *options, "-r", requirements])
    (unpacked / "rows.json").write_text(json.dumps(rows))
    answer = _command([python, "-I", unpacked / "predict.py", "--format", "json", unpacked / "rows.json"])
    decoded: dict[str, Any] = json.loads(answer)
    return decoded


def _command(command: list[object]) -> str:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
    if done.returncode:
        raise DemoFailed(f"`{' '.join(map(str, command))}` failed: {done.stderr.strip()[-800:]}")
    return done.stdout


def _compare(alone: dict[str, Any], served: dict[str, Any]) -> None:
    difference = max(
        abs(one[label] - other[label])
        for one, other in zip(alone["probabilities"], served["probabilities"], strict=True)
        for label in one
    )
    console.print(
        f"  {len(served['predictions'])} rows by the API and by the bundle: largest difference {difference:.1e}",
        highlight=False,
    )
    if alone["predictions"] != served["predictions"] or difference > _TOLERANCE:
        raise DemoFailed(f"the bundle and the API differ by {difference}")


def _say(text: str) -> None:
    console.print(f"[bold]{text}[/]", highlight=False)
