"""Every table, so that whoever needs the whole metadata imports one module."""

from app.database import Base
from app.datasets.tables import Dataset
from app.idempotency import IdempotencyKey
from app.jobs.tables import Job, JobEvent, TrialRow, Worker
from app.knowledge.tables import (
    JobKnowledge,
    KnowledgeArchive,
    KnowledgeEmbedding,
    KnowledgeEvaluation,
    KnowledgeTask,
    Metamodel,
)
from app.models.tables import Model
from app.projects.tables import ApiKey, Project

__all__ = [
    "ApiKey",
    "Base",
    "Dataset",
    "IdempotencyKey",
    "Job",
    "JobEvent",
    "JobKnowledge",
    "KnowledgeArchive",
    "KnowledgeEmbedding",
    "KnowledgeEvaluation",
    "KnowledgeTask",
    "Metamodel",
    "Model",
    "Project",
    "TrialRow",
    "Worker",
]
