"""Commands that run a part of the service until it is told to stop."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from app.settings import Settings, get_settings

console = Console()


def register(app: typer.Typer) -> None:
    """Add the commands."""
    for command in (up, api, dispatcher, worker, predictor):
        app.command()(command)


def up(
    port: Annotated[int | None, typer.Option(help="Port of the API; 0 takes a free one.")] = None,
    data_dir: Annotated[str | None, typer.Option(help="Folder of everything that is kept.")] = None,
) -> None:
    """Run the whole service on this machine: PostgreSQL, Valkey, API, dispatcher, predictor, worker."""
    from app.local.supervisor import AlreadyRunning, Up, signals_to

    changed = {name: value for name, value in (("port", port), ("data_dir", data_dir)) if value is not None}
    stack = Up(Settings(**changed))  # type: ignore[arg-type]
    with signals_to(stack.stopping):
        try:
            with console.status("Starting …"):
                stack.start()
        except (RuntimeError, AlreadyRunning) as error:
            raise typer.Exit(fail(str(error))) from error
        console.print(f"Warmstart answers at [bold]{stack.url}[/] (docs at {stack.url}/docs)", highlight=False)
        console.print(f"export WARMSTART_URL={stack.url} WARMSTART_KEY={stack.key}", soft_wrap=True, highlight=False)
        console.print("Stop it with Ctrl-C; data is kept.")
        try:
            stack.watch()
        finally:
            stack.close()
    console.print("Stopped.")


def api() -> None:
    """Run the HTTP API."""
    import uvicorn

    from app.main import create_app

    settings = get_settings()
    uvicorn.run(
        create_app(settings),
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=5,
        timeout_keep_alive=75,  # longer than clients keep connections, or they meet one that closes
        server_header=False,
    )


def dispatcher() -> None:
    """Run the dispatcher: queued jobs to workers, lost jobs back to the queue."""
    from app.dispatcher import run
    from app.logging import configure_logging

    settings = get_settings()
    configure_logging(settings)
    run(settings)


def worker() -> None:
    """Run a worker."""
    os.execv(sys.executable, [sys.executable, "-m", "workers"])  # noqa: S606


def predictor() -> None:
    """Run the predictor processes."""
    os.execv(sys.executable, [sys.executable, "-m", "app.predictions"])  # noqa: S606


def fail(message: str) -> int:
    """Print an error and what to do; the exit code."""
    Console(stderr=True).print(f"[red]error:[/] {escape(message)}", soft_wrap=True, highlight=False)
    return 1


def database_url() -> str:
    """URL of the database; ends the command if there is none."""
    url = get_settings().database_url
    if url is None:
        raise typer.Exit(fail("Set WARMSTART_DATABASE_URL; with `warmstart up` this is done for you."))
    return url.get_secret_value()
