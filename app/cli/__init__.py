"""The `warmstart` command: the service's roles, and a client of its API."""

from __future__ import annotations

import typer

from app.cli import client, knowledge, metamodels, operate, roles

app = typer.Typer(
    name="warmstart", help="AutoML as a service that remembers.", no_args_is_help=True, pretty_exceptions_enable=False
)
roles.register(app)
operate.register(app)
client.register(app)
app.add_typer(knowledge.app, name="knowledge")
app.add_typer(metamodels.app, name="metamodels")


def main() -> None:
    """Entry point of the console script."""
    app()
