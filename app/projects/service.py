"""Projects, their keys and their quotas."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from uuid import UUID

from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app.errors import Conflict, Forbidden, InvalidRequest, NotFound, QuotaExceeded
from app.knowledge import repository as knowledge
from app.projects import repository
from app.projects.schemas import (
    EffectiveQuotas,
    KeyCreate,
    KeyCreated,
    KeyRead,
    ProjectDetail,
    ProjectRead,
    ProjectUpdate,
    Quotas,
    Usage,
)
from app.projects.tables import ApiKey, Project
from app.security import Caller, KeyScope, forget_key, hash_secret, new_secret
from app.settings import Settings


def ensure_project(session: Session, name: str) -> Project:
    """The project of this name, made if it does not exist."""
    return repository.find_project_by_name(session, name) or create_project(session, name, Quotas())


def create_project(session: Session, name: str, quotas: Quotas, *, shares_knowledge: bool = False) -> Project:
    """A new project.

    Raises:
        Conflict: the name is taken.
    """
    project = Project(name=name, quotas=quotas.model_dump(exclude_none=True), shares_knowledge=shares_knowledge)
    try:
        with session.begin_nested():
            session.add(project)
    except IntegrityError as error:
        raise Conflict("A project of this name exists.", code="name_taken") from error
    session.refresh(project)
    return project


def create_key(
    session: Session, project_id: UUID, name: str, scopes: Iterable[KeyScope], expires_at: datetime | None = None
) -> tuple[ApiKey, str]:
    """A new key and its secret, which is kept nowhere."""
    secret = new_secret()
    key = ApiKey(
        project_id=project_id,
        name=name,
        prefix=secret[:8],
        hash=hash_secret(secret),
        scopes=sorted({scope.value for scope in scopes}),
        expires_at=expires_at,
    )
    session.add(key)
    session.flush()
    session.refresh(key)
    return key, secret


def create_key_for(session: Session, caller: Caller, body: KeyCreate) -> KeyCreated:
    """A new key on request of a caller, who can't give more than they have.

    Raises:
        Forbidden: a scope that the caller lacks.
        InvalidRequest: another project, and the caller is no operator, or no project at all.
    """
    lacking = [scope.value for scope in body.scopes if not caller.has(scope)]
    if lacking:
        raise Forbidden(f"Your key lacks the scope {lacking[0]!r}, so it can't grant it.")
    project_id = body.project_id or caller.project_id
    is_own = project_id == caller.project_id
    if not is_own and not (caller.has(KeyScope.OPERATOR) and repository.find_project(session, project_id)):
        detail = "No project has this id."
        raise InvalidRequest(f"/project_id: {detail}", errors=[{"pointer": "/project_id", "detail": detail}])
    key, secret = create_key(session, project_id, body.name, body.scopes, body.expires_at)
    return KeyCreated(**KeyRead.model_validate(key).model_dump(), secret=secret)


def update_project(session: Session, caller: Caller, project_id: UUID, body: ProjectUpdate) -> Project:
    """Set what is given, leave the rest: quotas by an operator, sharing by whoever administers the project.

    Raises:
        NotFound: no such project, or none of the caller's.
        Forbidden: quotas, and the caller is no operator.
    """
    is_operator = caller.has(KeyScope.OPERATOR)
    project = repository.find_project(session, project_id, lock=True)
    if project is None or not (is_operator or project_id == caller.project_id):
        raise NotFound("No project with this id.")
    if body.quotas is not None:
        if not is_operator:
            raise Forbidden("Quotas are changed by an operator: your key lacks the scope 'operator'.")
        changes = body.quotas.model_dump(exclude_unset=True)
        project.quotas = {name: value for name, value in {**project.quotas, **changes}.items() if value is not None}
    if body.shares_knowledge is not None:
        project.shares_knowledge = body.shares_knowledge
        if not body.shares_knowledge:
            knowledge.stop_sharing(session, project_id)
    return project


def delete_project(session: Session, caller: Caller, project_id: UUID) -> None:
    """Delete a project with everything in it: datasets, jobs, models, keys and what others learned from it.

    Raises:
        NotFound: no such project.
        Conflict: a job has not ended, or it is the caller's own.
    """
    project = repository.find_project(session, project_id, lock=True)
    if project is None:
        raise NotFound("No project with this id.")
    if project_id == caller.project_id:
        raise Conflict("Your own key would go with it: use a key of another project.", code="own_project")
    unfinished = {"queued", "running", "cancelling"} & repository.count_jobs(session, project_id).keys()
    if unfinished:
        raise Conflict("The project has jobs that have not ended; cancel them first.", code="job_not_ended")
    knowledge.retire_learned_from(session, project_id)
    session.delete(project)


def effective_quotas(project: Project, settings: Settings) -> EffectiveQuotas:
    """The project's own quotas, else the settings'."""
    defaults = {
        "running_jobs": settings.quota_running_jobs,
        "queued_jobs": settings.quota_queued_jobs,
        "bytes": settings.quota_bytes,
    }
    return EffectiveQuotas(**{**defaults, **project.quotas})


def check_bytes(session: Session, project_id: UUID, added: int, settings: Settings) -> None:
    """Whether a project may store so many bytes more.

    Raises:
        QuotaExceeded: it may not.
    """
    project = repository.find_project(session, project_id)
    if project is None:
        raise NotFound("No project with this id.")
    allowed = effective_quotas(project, settings).bytes
    used = repository.sum_bytes(session, project_id)
    if used + added > allowed:
        raise QuotaExceeded(
            f"The project stores {used} bytes, {added} more would pass its quota of {allowed}. Delete datasets or "
            "models, or ask the operator for more.",
            code="quota_bytes",
        )


def read_project(project: Project, settings: Settings) -> ProjectRead:
    """A project as clients see it."""
    return ProjectRead(
        id=project.id,
        name=project.name,
        quotas=effective_quotas(project, settings),
        shares_knowledge=project.shares_knowledge,
        created_at=project.created_at,
    )


def read_detail(session: Session, project_id: UUID, settings: Settings) -> ProjectDetail:
    """A project and what it uses.

    Raises:
        NotFound: no such project.
    """
    project = repository.find_project(session, project_id)
    if project is None:
        raise NotFound("No project with this id.")
    jobs = repository.count_jobs(session, project_id)
    usage = Usage(
        running_jobs=jobs.get("running", 0) + jobs.get("cancelling", 0),
        queued_jobs=jobs.get("queued", 0),
        bytes=repository.sum_bytes(session, project_id),
    )
    return ProjectDetail(**read_project(project, settings).model_dump(), usage=usage)


def revoke(session: Session, project_id: UUID, key_id: UUID) -> ApiKey:
    """Revoke a key of the caller's project.

    Raises:
        NotFound: no such key.
    """
    key = repository.revoke_key(session, project_id, key_id)
    if key is None:
        raise NotFound("No key with this id.")
    forget_key(session, key.hash)
    return key
