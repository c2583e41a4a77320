"""Commands for whoever operates the service."""

from __future__ import annotations

import itertools
import os
import shutil
from collections.abc import Iterator
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from app.cli import keys
from app.cli.roles import database_url
from app.settings import Settings, get_settings

console = Console()


def register(app: typer.Typer) -> None:
    """Add the commands."""
    for command in (migrate, doctor):
        app.command()(command)
    app.command("settings")(show_settings)
    app.add_typer(keys.app, name="keys")


def migrate() -> None:
    """Bring the database's tables up to date, and load the knowledge that the package ships."""
    from app.knowledge.loading import load_seed
    from app.migrate import upgrade

    upgrade(database_url())
    loaded = load_seed(database_url(), get_settings())
    console.print("The database is up to date." + (" Seed knowledge was loaded." if loaded else ""))


def show_settings(markdown: Annotated[bool, typer.Option(help="As a Markdown table.")] = False) -> None:
    """List every option, its default and what it does."""
    rows = [
        (f"WARMSTART_{name.upper()}", "unset" if field.default is None else str(field.default), field.description or "")
        for name, field in Settings.model_fields.items()
    ]
    if markdown:
        typer.echo("| option | default | what it does |\n|---|---|---|")
        for row in rows:
            typer.echo("| `{}` | `{}` | {} |".format(*row))
        return
    table = Table("option", "default", "what it does")
    for row in rows:
        table.add_row(*row)
    console.print(table)


def doctor(servers: Annotated[bool, typer.Option(help="Only database and broker.")] = False) -> None:
    """Check what the service needs, and say what to do about what is missing."""
    settings, problems = get_settings(), 0
    checks = itertools.chain([] if servers else _check_machine(settings), _check_servers(settings))
    for name, advice in checks:
        console.print(
            f"[green]ok[/]    {name}" if advice is None else f"[red]wrong[/] {name}: {escape(advice)}", highlight=False
        )
        problems += advice is not None
    raise typer.Exit(1 if problems else 0)


def _check_machine(settings: Settings) -> Iterator[tuple[str, str | None]]:
    from importlib.util import find_spec

    for package in ("torch", "sklearn", "lightgbm", "catboost", "skops"):
        yield f"package {package}", None if find_spec(package) else "missing; install with `make install`"
    free_gb = shutil.disk_usage(settings.data_dir if settings.data_dir.exists() else ".").free / 1e9
    yield f"{free_gb:.0f} GB free", None if free_gb > 2 else "less than 2 GB; uploads and models need room"
    memory_gb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    yield (
        f"{memory_gb:.0f} GB of memory",
        None if memory_gb > 3.5 else "less than 4 GB; lower WARMSTART_TRIAL_MEMORY_MB",
    )


def _check_servers(settings: Settings) -> Iterator[tuple[str, str | None]]:
    yield "database", _database_advice(settings)
    yield "broker", _broker_advice(settings)


def _database_advice(settings: Settings) -> str | None:
    if settings.database_url is None:
        from app.local.postgres import find_binaries

        try:
            return None if (find_binaries() / "postgres").exists() else "the embedded PostgreSQL lacks its binary"
        except RuntimeError as error:
            return str(error)
    from app.migrate import is_current

    try:
        current = is_current(database_url())
    except Exception as error:  # whatever keeps it away is what the operator wants to read
        return f"can't be reached: {error}"
    return None if current else "tables are out of date; run `warmstart migrate`"


def _broker_advice(settings: Settings) -> str | None:
    if settings.broker_url is None:
        from app.local.valkey import find_binary

        try:
            return None if find_binary().exists() else "the embedded Valkey lacks its binary"
        except RuntimeError as error:
            return str(error)
    from app.broker import BROKER_ERRORS, Broker

    try:
        Broker(settings.broker_url.get_secret_value()).length()
    except BROKER_ERRORS as error:
        return f"can't be reached: {error}"
    return None
