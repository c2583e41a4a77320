"""/v1/projects and /v1/keys."""

from __future__ import annotations

from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Path, Request, Response

import app.http  # noqa: F401  registers the convertor `id`
from app.dependencies import SessionDep, SettingsDep
from app.errors import NotFound
from app.pagination import Page, PageDep, make_page
from app.projects import repository, service
from app.projects.schemas import (
    KeyCreate,
    KeyCreated,
    KeyRead,
    ProjectCreate,
    ProjectDetail,
    ProjectRead,
    ProjectUpdate,
)
from app.security import AdminCaller, KeyScope, OperatorCaller, ReadCaller

router = APIRouter(prefix="/v1/projects", tags=["projects"])
ProjectId = Annotated[UUID | Literal["current"], Path(description="`current` is the caller's own.")]

keys_router = APIRouter(prefix="/v1/keys", tags=["projects"])


@router.post("", status_code=201)
def create_project(body: ProjectCreate, session: SessionDep, settings: SettingsDep, _: OperatorCaller) -> ProjectRead:
    """Make a project. Needs the scope `operator`."""
    return service.read_project(
        service.create_project(session, body.name, body.quotas, shares_knowledge=body.shares_knowledge), settings
    )


@router.get("")
def list_projects(page: PageDep, session: SessionDep, settings: SettingsDep, _: OperatorCaller) -> Page[ProjectRead]:
    """Every project, newest first. Needs the scope `operator`."""
    rows = repository.list_projects(session, page)
    return make_page(rows, page, lambda row: row.id, lambda row: service.read_project(row, settings))


@router.get("/{project_id}")
def get_project(project_id: ProjectId, session: SessionDep, settings: SettingsDep, caller: ReadCaller) -> ProjectDetail:
    """A project's quotas and usage: one's own, or any for an operator."""
    wanted = caller.project_id if project_id == "current" else project_id
    if wanted != caller.project_id and not caller.has(KeyScope.OPERATOR):
        raise NotFound("No project with this id.")
    return service.read_detail(session, wanted, settings)


@router.patch("/{project_id}")
def update_project(
    project_id: ProjectId, body: ProjectUpdate, session: SessionDep, settings: SettingsDep, caller: AdminCaller
) -> ProjectRead:
    """Change sharing (needs the scope `admin`), or quotas (`operator`; null goes back to the service's default)."""
    wanted = caller.project_id if project_id == "current" else project_id
    return service.read_project(service.update_project(session, caller, wanted, body), settings)


@router.delete("/{project_id}", status_code=204)
def delete_project(project_id: UUID, session: SessionDep, caller: OperatorCaller) -> None:
    """Delete a project with its datasets, jobs, models, keys and knowledge. Needs the scope `operator`.

    Metamodels that learned from its shared tasks are retired; files follow within the hour.
    """
    service.delete_project(session, caller, project_id)


@keys_router.post("", status_code=201)
def create_key(body: KeyCreate, response: Response, session: SessionDep, caller: AdminCaller) -> KeyCreated:
    """Make a key. Its secret is in this answer and nowhere else. Needs the scope `admin`."""
    response.headers["Cache-Control"] = "no-store"
    return service.create_key_for(session, caller, body)


@keys_router.get("")
def list_keys(page: PageDep, session: SessionDep, caller: AdminCaller) -> Page[KeyRead]:
    """The project's keys, newest first. Needs the scope `admin`."""
    rows = repository.list_keys(session, caller.project_id, page)
    return make_page(rows, page, lambda row: row.id, KeyRead.model_validate)


@keys_router.post("/{key_id:id}:revoke")
def revoke_key(key_id: UUID, request: Request, session: SessionDep, caller: AdminCaller) -> KeyRead:
    """Revoke a key at once and for good. Needs the scope `admin`."""
    key = service.revoke(session, caller.project_id, key_id)
    request.app.state.keys.forget(key.hash)  # other processes hear of it when this commits
    return KeyRead.model_validate(key)
