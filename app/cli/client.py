"""Commands that talk to a running service. They read WARMSTART_URL and WARMSTART_KEY."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

import httpx
import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from app.cli import display
from app.cli.roles import fail
from app.client import Client, ClientError

console = display.console
Url = Annotated[str, typer.Option(envvar="WARMSTART_URL", help="Where the service answers.")]
Key = Annotated[str, typer.Option(envvar="WARMSTART_KEY", help="An API key.")]
File = Annotated[Path, typer.Argument(exists=True, dir_okay=False, readable=True)]
URL = "http://127.0.0.1:8765"
_BATCH = 1000
_WIDE = 240  # columns of a listing that no one looks at


def register(app: typer.Typer) -> None:
    """Add the commands."""
    for command in (upload, fit, jobs, job, cancel, extend, models, download, predict, demo):
        app.command()(command)


@contextmanager
def connected(url: str, key: str) -> Iterator[Client]:
    """A client; what the service refuses ends the command with its reason."""
    try:
        with Client(url, key) as client:
            yield client
    except ClientError as error:
        raise typer.Exit(fail(str(error))) from error
    except OSError as error:  # no room, no permission, a damaged download
        raise typer.Exit(fail(str(error))) from error
    except httpx.TransportError as error:
        message = f"No answer from {url}: {error}. Is `warmstart up` running? Else set WARMSTART_URL."
        raise typer.Exit(fail(message)) from error


def upload(file: File, key: Key, url: Url = URL, name: str | None = None) -> None:
    """Upload a table and print the dataset's id."""
    with connected(url, key) as client:
        dataset = client.upload(file, name=name or file.name)
        console.print(f"{dataset['rows']:,} rows, {len(dataset['columns'])} columns", highlight=False)
        for alert in dataset["alerts"]:
            console.print(f"[yellow]{alert['code']}[/] {escape(alert['detail'])}", highlight=False)
    typer.echo(dataset["id"])


def fit(
    table: Annotated[str, typer.Argument(help="A file to upload, or a dataset's id.")],
    target: str,
    key: Key,
    url: Url = URL,
    seconds: Annotated[float, typer.Option(help="Budget.")] = 60,
    metric: str | None = None,
    spec: Annotated[str, typer.Option(help="More of the job spec, as JSON.")] = "{}",
) -> None:
    """Train a model and watch it grow; prints leaderboard, score and the model's id."""
    more = _parse_spec(spec)
    with connected(url, key) as client:
        wanted: dict[str, Any] = {
            "dataset_id": _dataset_id(client, table),
            "target": target,
            "budget": {"seconds": seconds},
        }
        if metric is not None:
            wanted["metric"] = metric
        ended = display.follow(client, client.create_job(wanted | more)["id"])
        _report(client, ended)


def _dataset_id(client: Client, table: str) -> str:
    """Of what is already there, or of a file that is uploaded now."""
    with suppress(ValueError):
        return str(UUID(table))
    path = Path(table)
    if not path.is_file():
        raise typer.BadParameter(f"{table} is neither a file nor a dataset's id.")
    return str(client.upload(path, name=path.name)["id"])


def _parse_spec(text: str) -> dict[str, Any]:
    try:
        spec = json.loads(text)
    except ValueError as error:
        raise typer.BadParameter(f"--spec is not JSON: {error}") from error
    if not isinstance(spec, dict):
        raise typer.BadParameter('--spec is not a JSON object such as {"metric": "log_loss"}')
    return spec


def _report(client: Client, job: dict[str, Any]) -> None:
    if job["state"] == "failed":
        raise typer.Exit(fail(job["error"]["detail"]))
    console.print(display.leaderboard(client.leaderboard(job["id"])))
    if job["model_id"] is not None:
        console.print(display.score_line(client.model(job["model_id"])), highlight=False)
        typer.echo(job["model_id"])


def jobs(key: Key, url: Url = URL, most: int = 20) -> None:
    """List jobs, newest first."""
    _list(url, key, lambda client: client.jobs(), ("id", "state", "target", "metric", "created_at", "model_id"), most)


def models(key: Key, url: Url = URL, most: int = 20) -> None:
    """List models, newest first."""
    _list(url, key, lambda client: client.models(), ("id", "target", "metric", "is_final", "bytes", "job_id"), most)


def _list(
    url: str, key: str, read: Callable[[Client], Iterator[dict[str, Any]]], names: tuple[str, ...], most: int
) -> None:
    table = Table(*names)
    with connected(url, key) as client:
        for _, item in zip(range(most), read(client), strict=False):
            table.add_row(*(escape(str(item[name])) for name in names))
    # ids are to be copied: another program gets them whole, however wide its terminal is thought to be
    (console if console.is_terminal else Console(width=_WIDE)).print(table)


def job(job_id: str, key: Key, url: Url = URL) -> None:
    """Watch a job to its end."""
    with connected(url, key) as client:
        _report(client, display.follow(client, job_id))


def cancel(job_id: str, key: Key, url: Url = URL) -> None:
    """Cancel a job; its best model so far stays."""
    with connected(url, key) as client:
        typer.echo(client.cancel(job_id)["state"])


def extend(job_id: str, key: Key, url: Url = URL, seconds: float | None = None, trials: int | None = None) -> None:
    """Give a job more seconds or trials; an ended one goes on as a new job."""
    more = {name: value for name, value in (("seconds", seconds), ("trials", trials)) if value is not None}
    with connected(url, key) as client:
        typer.echo(client.extend(job_id, **more)["id"])


def download(model_id: str, path: Path, key: Key, url: Url = URL) -> None:
    """Save a model's bundle, its digest checked."""
    with connected(url, key) as client:
        typer.echo(client.download_bundle(model_id, path))


def predict(model_id: str, file: File, key: Key, url: Url = URL) -> None:
    """Predict the rows of a CSV file; a CSV with predictions goes to standard output."""
    with file.open(newline="", encoding="utf-8-sig") as source, connected(url, key) as client:
        rows = [{name: value or None for name, value in row.items()} for row in csv.DictReader(source)]
        writer = csv.writer(sys.stdout)
        for start in range(0, len(rows), _BATCH):
            answer = client.predict(model_id, rows[start : start + _BATCH])
            labels = list(answer["probabilities"][0]) if answer.get("probabilities") else []
            if start == 0:
                writer.writerow(["prediction", *map(_plain, labels)])
            for place, prediction in enumerate(answer["predictions"]):
                shares = [answer["probabilities"][place][label] for label in labels]
                writer.writerow([_plain(prediction), *shares])


def _plain(value: Any) -> Any:
    """Text that a spreadsheet would run as a formula gets a leading apostrophe (OWASP)."""
    return f"'{value}" if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r") else value


def demo(seconds: Annotated[float, typer.Option(help="Budget of the job.")] = 30) -> None:
    """Show the whole road on a real table: upload, job, leaderboard, bundle, predictions; leaves nothing running."""
    from app.local.demo import run

    raise typer.Exit(run(seconds))
