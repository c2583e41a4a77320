"""`warmstart metamodels`: practice of the networks that learn to learn."""

from __future__ import annotations

import os
import sys

import typer

app = typer.Typer(help="Networks that have learned to learn.", no_args_is_help=True)


@app.callback()
def metamodels() -> None:
    """Networks that have learned to learn."""


@app.command(context_settings={"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": []})
def train(context: typer.Context) -> None:
    """Let one practise on tables: `warmstart metamodels train --help` has the options."""
    os.execv(sys.executable, [sys.executable, "-m", "workers.pretrain", *context.args])  # noqa: S606 - no shell is wanted
