"""/v1/knowledge."""

from __future__ import annotations

from fastapi import APIRouter

from app.dependencies import SessionDep
from app.knowledge import repository
from app.knowledge.schemas import KnowledgeCount, KnowledgeRead, KnowledgeTaskRead
from app.pagination import Page, PageDep, make_page
from app.security import ReadCaller

router = APIRouter(prefix="/v1/knowledge", tags=["knowledge"])


@router.get("")
def get_knowledge(session: SessionDep, caller: ReadCaller) -> KnowledgeRead:
    """How many tasks and evaluations the project has gathered, and how many all share."""
    counts = repository.count(session, caller.project_id)
    return KnowledgeRead(**{name: KnowledgeCount(tasks=tasks, evaluations=n) for name, (tasks, n) in counts.items()})


@router.get("/tasks")
def list_knowledge_tasks(page: PageDep, session: SessionDep, caller: ReadCaller) -> Page[KnowledgeTaskRead]:
    """The project's past tasks, newest first."""
    rows = repository.list_tasks(session, caller.project_id, page)
    return make_page(
        rows,
        page,
        lambda row: row[0].id,
        lambda row: KnowledgeTaskRead(
            id=row[0].id,
            kind=row[0].kind,
            group=row[0].group,
            metafeatures=row[0].metafeatures,
            evaluations=row[1],
            created_at=row[0].created_at,
        ),
    )
