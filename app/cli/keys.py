"""`warmstart keys`: API keys, straight in the database, for whoever operates it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated
from uuid import UUID

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from app.cli.roles import database_url, fail

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from app.projects.tables import Project

app = typer.Typer(help="API keys, straight in the database.", no_args_is_help=True)
ProjectName = Annotated[str, typer.Option("--project", help="Name of the project.")]


@contextmanager
def _transaction() -> Iterator[Session]:
    from app.database import Database

    database = Database(database_url(), pool_size=1)
    try:
        with database.transaction() as session:
            yield session
    finally:
        database.dispose()


@app.command("create")
def create_key(
    name: Annotated[str, typer.Argument(help="What the key is for.")],
    project: Annotated[str, typer.Option(help="Name of the project; made if there is none.")] = "default",
    scope: Annotated[str, typer.Option(help="read, write, admin or operator; each includes those before.")] = "write",
    days: Annotated[float | None, typer.Option(min=0, help="Days until it expires; for ever if not given.")] = None,
) -> None:
    """Make a key and print its secret, which is kept nowhere."""
    from app.projects import service
    from app.security import KeyScope

    if scope not in list(KeyScope):
        raise typer.Exit(fail(f"Unknown scope {scope!r}; known: {', '.join(KeyScope)}."))
    expires = None if days is None else datetime.now(UTC) + timedelta(days=days)
    with _transaction() as session:
        owner = service.ensure_project(session, project)
        _, secret = service.create_key(session, owner.id, name, [KeyScope(scope)], expires)
    typer.echo(secret)


@app.command("list")
def list_keys(project: ProjectName = "default") -> None:
    """List a project's keys, newest first."""
    from app.pagination import PageRequest
    from app.projects import repository

    table = Table("id", "name", "starts with", "scopes", "expires", "revoked")
    with _transaction() as session:
        owner = _find_project(session, project)
        for key in repository.list_keys(session, owner.id, PageRequest(limit=1000, cursor=None)):
            times = [f"{moment:%Y-%m-%d %H:%M}" if moment else "" for moment in (key.expires_at, key.revoked_at)]
            table.add_row(str(key.id), escape(key.name), key.prefix, ", ".join(key.scopes), *times)
    Console().print(table)


@app.command("revoke")
def revoke_key(key_id: UUID, project: ProjectName = "default") -> None:
    """Revoke a key: from now on it opens nothing."""
    from app.errors import NotFound
    from app.projects import service

    try:
        with _transaction() as session:
            service.revoke(session, _find_project(session, project).id, key_id)
    except NotFound as error:
        raise typer.Exit(fail(str(error))) from error
    typer.echo("revoked")


def _find_project(session: Session, name: str) -> Project:
    from app.projects import repository

    project = repository.find_project_by_name(session, name)
    if project is None:
        raise typer.Exit(fail(f"No project is named {name!r}."))
    return project
