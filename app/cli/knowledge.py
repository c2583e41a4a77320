"""`warmstart knowledge`: what jobs learn from, over the API; and the seed knowledge, built from the corpus."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

import typer
from rich.markup import escape
from rich.table import Table

from app.cli import display
from app.cli.client import URL, File, Key, Url, connected
from app.cli.roles import fail

console = display.console
app = typer.Typer(help="What past tasks taught.", no_args_is_help=True)
_POLL_S = 1.0
_TERMINAL = ("succeeded", "failed", "cancelled")


@app.command()
def show(key: Key, url: Url = URL) -> None:
    """How much the project's jobs can learn from, and the metamodels in use."""
    with connected(url, key) as client:
        counts, metamodels = client.knowledge(), list(client.metamodels())
    table = Table("whose", "tasks", "evaluations")
    for whose, count in counts.items():
        table.add_row(whose, f"{count['tasks']:,}", f"{count['evaluations']:,}")
    console.print(table)
    table = Table("role", "metamodel", "version", "state", "learned from", "id")
    for each in metamodels:
        learned = f"{each['learned_from'].get('tasks', 0):,} tasks"
        table.add_row(each["role"], each["name"], str(each["version"]), each["state"], learned, each["id"])
    console.print(table)


@app.command()
def job(job_id: str, key: Key, url: Url = URL) -> None:
    """What a job knew when it began, and what each source of proposals brought."""
    with connected(url, key) as client:
        known = client.job_knowledge(job_id)
    if not known["is_warm"]:
        console.print("A cold search: it knew nothing of other tasks.")
    else:
        said = f"{known['tasks']:,} past tasks, {known['evaluations']:,} evaluations"
        if known["seconds_saved"] is not None:
            said += f"; about {known['seconds_saved']:.1f} s ahead of a cold start on tables like theirs"
        console.print(said, highlight=False)
        table = Table("past task", "own", "distance", "share", "alike in")
        for each in known["neighbours"]:
            traits = ", ".join(each["shared_traits"])
            share = f"{each['likeness']:.0%}"
            table.add_row(each["task_id"], "yes" if each["own"] else "", f"{each['distance']:.2f}", share, traits)
        console.print(table)
    table = Table("source", "trials", "seconds", "best score", "became best", "gain")
    for each in known["sources"]:
        best = "" if each["best_score"] is None else f"{each['best_score']:.4f}"
        numbers = (
            str(each["trials"]),
            f"{each['seconds']:.1f}",
            best,
            str(each["improvements"]),
            f"{each['gain']:.4f}",
        )
        table.add_row(each["source"], *numbers)
    console.print(table)


@app.command("export")
def export_knowledge(path: Path, key: Key, url: Url = URL) -> None:
    """Save what the project's jobs left, for another installation."""
    with connected(url, key) as client:
        path.write_bytes(client.export_knowledge())
    typer.echo(f"{path}: {path.stat().st_size:,} bytes")


@app.command("import")
def import_knowledge(file: File, key: Key, url: Url = URL) -> None:
    """Add an export to the project's own knowledge."""
    with connected(url, key) as client:
        added = client.import_knowledge(file.read_bytes())
    typer.echo(f"{added['tasks']:,} tasks, {added['evaluations']:,} evaluations")


@app.command()
def train(key: Key, url: Url = URL) -> None:
    """Train metamodels on all that is shared, and wait for the verdicts. Needs an operator's key."""
    with connected(url, key) as client:
        training = client.train_metamodels()
        with console.status("queued") as status:
            while training["state"] not in _TERMINAL:
                time.sleep(_POLL_S)
                training = client.training(training["id"])
                status.update(_phase(training))
    if training["state"] != "succeeded":
        raise typer.Exit(fail(str((training["error"] or {}).get("detail", training["state"]))))
    for each in training["progress"].get("challengers", ()):
        console.print(f"{escape(each['name'])}: {escape(each['why'])}", highlight=False)
    if detail := training["progress"].get("detail"):
        console.print(escape(detail), highlight=False)


def _phase(training: dict[str, Any]) -> str:
    progress = training["progress"]
    of = f" {progress['tasks']} of {progress['of']} tasks" if "of" in progress else ""
    return f"{progress.get('phase', training['state'])}{of}"


@app.command(context_settings={"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": []})
def build(context: typer.Context) -> None:
    """Evaluate the corpus for seed knowledge: `warmstart knowledge build --help` has the options."""
    os.execv(sys.executable, [sys.executable, "-m", "workers.seed", *context.args])  # noqa: S606 - no shell is wanted
