"""Health, readiness, metrics, and the space."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from app.dependencies import SettingsDep
from app.security import ReadCaller
from app.system import service
from app.system.schemas import Health, Readiness, SpaceRead
from app.system.space import describe_space

router = APIRouter(tags=["system"])


@router.get("/healthz")
async def get_health() -> Health:
    """Whether the process answers."""
    return Health()


@router.get("/readyz", responses={503: {"model": Readiness, "description": "Not ready"}})
def get_readiness(request: Request, response: Response, settings: SettingsDep) -> Readiness:
    """Whether it can serve: database, migrations, disk."""
    readiness = service.check_readiness(request.app.state.database, settings)
    response.status_code = 200 if readiness.ready else 503
    return readiness


@router.get(
    "/metrics",
    response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
)
def get_metrics(request: Request) -> Response:
    """Prometheus metrics of this process and of the queue."""
    return Response(service.render_metrics(request.app.state.database), media_type="text/plain; version=0.0.4")


@router.get("/v1/space")
def get_space(_: ReadCaller) -> SpaceRead:
    """Learners, strategies, metrics, and the declared space of every kind of task."""
    return describe_space()
