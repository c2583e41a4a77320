"""/v1/models/{id}/predictions."""

from __future__ import annotations

from uuid import UUID

from fastapi import APIRouter, Request, Response
from fastapi.concurrency import run_in_threadpool

from app.database import Database
from app.errors import Unavailable
from app.models.service import get_model
from app.predictions.forward import BundleReplaced, PredictorClient
from app.predictions.schemas import PredictionsRead
from app.security import ReadCaller

router = APIRouter(prefix="/v1/models", tags=["predictions"])

_BODY = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/PredictionRequest"}}},
    }
}


@router.post("/{model_id:id}/predictions", response_model=PredictionsRead, openapi_extra=_BODY)
async def predict(model_id: UUID, request: Request, caller: ReadCaller) -> Response:
    """Predict rows. The body goes to a predictor as it came, and its answer to the client as it comes.

    A missing column, or text where a number belongs, is an error that names the place; a category that training did
    not see is answered, with a warning; columns that the model does not use are ignored, with one warning.
    """
    predictor: PredictorClient = request.app.state.predictor
    database: Database = request.app.state.database
    body = await request.body()
    for _ in range(2):  # a running job replaces its bundle; the second look finds the new one
        query = await run_in_threadpool(_locate, database, caller.project_id, model_id)
        try:
            return Response(await predictor.predict(query, body), media_type="application/json")
        except BundleReplaced:
            continue
    raise Unavailable("The model was replaced just now or its storage is away; try again.")


def _locate(database: Database, project_id: UUID, model_id: UUID) -> dict[str, str]:
    """What the predictor needs to know of a model.

    Raises:
        NotFound: none of this project's.
    """
    with database.transaction() as session:
        model = get_model(session, project_id, model_id)
        return {
            "blob_key": model.blob_key,
            "sha256": model.sha256,
            "model_id": str(model.id),
            "model_version": str(model.version),
        }
