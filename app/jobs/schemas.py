"""Jobs as clients send and see them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, JsonValue, StringConstraints

from app.jobs.tables import Job, JobState, TrialRow
from app.knowledge.forecast import Forecast
from app.text import ColumnName, Name
from workers.engine.types import ColumnKind, Scheme, TaskKind

Label = Annotated[str, StringConstraints(max_length=1000, pattern=r"^[^\x00]*$")]
Weight = Annotated[float, Field(gt=0, le=1e6, allow_inf_nan=False)]
_TRIALS_MAX = 1_000_000


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid")


class BudgetSpec(_Part):
    """How much the job may use. At least one of the two; only trials, with `seconds` null: the run is reproducible."""

    seconds: float | None = Field(300, gt=0, le=1e7, description="From the first claim to the finished model.")
    trials: int | None = Field(None, ge=1, le=_TRIALS_MAX, description="Configurations tried.")


class TrialSpec(_Part):
    """What one trial may use."""

    seconds: float | None = Field(None, gt=0, le=1e7, description="null: derived from the budget.")
    memory_mb: int | None = Field(None, ge=128, le=4_194_304, description="null: the service's default.")


class ValidationSpec(_Part):
    """How models are scored."""

    scheme: Scheme = Field(Scheme.AUTO, description="auto becomes group or time when such a column is named.")
    folds: int | None = Field(None, ge=2, le=50, description="null: from the number of rows.")
    group_column: ColumnName | None = Field(None, description="Rows of one group never stand on both sides.")
    time_column: ColumnName | None = Field(None, description="Validation rows are later than training rows.")
    holdout: float = Field(0, ge=0, le=0.5, description="Share of rows kept for one final score; 0: none.")


class FeaturesSpec(_Part):
    """Which columns are used, and as what."""

    include: list[ColumnName] | None = Field(None, min_length=1, max_length=20_000, description="null: all usable.")
    exclude: list[ColumnName] = Field([], max_length=20_000)
    kinds: dict[ColumnName, ColumnKind] = Field({}, max_length=20_000, description="Over the dataset's own kinds.")


class AlgorithmsSpec(_Part):
    """Learners by name, see GET /v1/space."""

    include: list[Name] | None = Field(None, min_length=1, max_length=100, description="null: all.")
    exclude: list[Name] = Field([], max_length=100)


class LimitsSpec(_Part):
    """What the model may cost whoever uses it; members are left out until it fits."""

    predict_ms_per_row: float | None = Field(
        None, gt=0, le=1e6, description="Milliseconds a row in batches of 1,000 on one core; null: no limit."
    )
    megabytes: float | None = Field(None, gt=0, le=1e6, description="Of the model's files; null: no limit.")


_EXAMPLE: dict[str, JsonValue] = {
    "dataset_id": "01932f3e-7b1a-7c3e-9d5f-2a6b8c0d4e1f",
    "target": "income",
    "metric": "roc_auc",
    "budget": {"seconds": 60},
    "labels": {"team": "risk"},
}


class JobSpec(_Part):
    """A task and how to solve it. Only `dataset_id` and `target` are required; unknown fields are errors."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [_EXAMPLE]})

    dataset_id: UUID
    target: ColumnName
    kind: TaskKind | None = Field(None, description="null: inferred from the target.")
    metric: Name | None = Field(None, description="null: roc_auc, log_loss or rmse, by kind.")
    positive_class: Label | bool | int | float | None = Field(
        None, description="Binary only; null: the later label in order."
    )
    budget: BudgetSpec = BudgetSpec()
    trial: TrialSpec = TrialSpec()
    validation: ValidationSpec = ValidationSpec()
    features: FeaturesSpec = FeaturesSpec()
    weights_column: ColumnName | None = Field(None, description="Sample weights, at least 0.")
    class_weight: (
        Literal["balanced"] | Annotated[dict[Label, Weight], Field(min_length=1, max_length=10_000)] | None
    ) = Field(None, description="Classification only: balanced, or a weight by label; others weigh 1.")
    algorithms: AlgorithmsSpec = AlgorithmsSpec()
    strategy: Name = "auto"
    ensemble: bool = Field(True, description="Weight several models; false: the best one alone.")
    limits: LimitsSpec = LimitsSpec()
    knowledge: Literal["off", "own", "shared"] = Field(
        "shared",
        description="What the search learns from: what came with the package and the project's own past (own), what "
        "other projects share too (shared), or nothing (off).",
    )
    contribute: Literal["none", "own", "shared"] = Field(
        "own",
        description="Who may learn from this job: nobody, the project, or all, if the project shares its knowledge.",
    )
    seed: int = Field(0, ge=0, le=2**31 - 1)
    name: Name | None = None
    labels: dict[Name, Label] = Field({}, max_length=64)


class JobExtend(_Part):
    """What to add to a job's budget."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"seconds": 60}]})

    seconds: float | None = Field(None, gt=0, le=1e7)
    trials: int | None = Field(None, ge=1, le=_TRIALS_MAX)


class JobError(BaseModel):
    """Why a job failed."""

    model_config = ConfigDict(extra="allow")

    code: str
    detail: str


class JobSummary(BaseModel):
    """A job in a list."""

    id: UUID
    dataset_id: UUID
    parent_job_id: UUID | None
    model_id: UUID | None = Field(description="Its best model so far, or its final one.")
    name: str | None
    labels: dict[str, str]
    target: str
    kind: TaskKind
    metric: str
    state: JobState
    attempt: int = Field(description="How often a worker has begun it.")
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    used_seconds: float = Field(description="Budget used by ended attempts.")
    reproducible: bool | None
    error: JobError | None
    progress: dict[str, Any] = Field(description="phase, trials, best {metric, score, learner}, …")
    version: int = Field(description="Raised by every change; the ETag.")


class JobRead(JobSummary):
    """A job."""

    spec: dict[str, Any] = Field(description="The request, every default filled in and column kinds pinned.")

    @classmethod
    def from_row(cls, row: Job, model_id: UUID | None) -> JobRead:
        """A job as clients see it."""
        return cls(**_summary(row, model_id), spec=row.spec)


def read_summary(row: Job, model_id: UUID | None) -> JobSummary:
    """A job as lists show it."""
    return JobSummary(**_summary(row, model_id))


def _summary(row: Job, model_id: UUID | None) -> dict[str, Any]:
    same = ("id", "dataset_id", "parent_job_id", "name", "labels", "state", "attempt", "created_at", "started_at")
    more = ("finished_at", "reproducible", "error", "progress", "version")
    values = {name: getattr(row, name) for name in (*same, *more)}
    spec = {name: row.spec[name] for name in ("target", "kind", "metric")}
    return {**values, **spec, "model_id": model_id, "used_seconds": row.used_s}


class Alert(BaseModel):
    """Something to know before trusting a result."""

    code: str
    detail: str
    column: str | None = None
    severity: Literal["info", "warning"] = "info"


class Cost(BaseModel):
    """What a job will use."""

    seconds: float | None = Field(description="At most; null: only trials limit it.")
    trials: int | None = Field(description="At most; null: only seconds limit it.")
    fit_seconds: dict[str, float] = Field(description="Predicted seconds to fit each learner's default once, one core.")


class JobValidation(BaseModel):
    """What POST /v1/jobs would do with this spec."""

    spec: dict[str, Any] = Field(description="Every default filled in.")
    alerts: list[Alert]
    cost: Cost
    knowledge: Forecast | None = Field(
        description="What past tasks say; null: the spec has it off, nothing is known, or no predictor is free to look."
    )


class TrialRead(BaseModel):
    """A proposal and what became of it."""

    number: int
    learner: str
    configuration: dict[str, Any]
    fidelity: dict[str, Any]
    source: str
    status: str | None = Field(description="null: running")
    loss: float | None = Field(description="Of the job's metric, lower is better.")
    fold_losses: list[float] = []
    metrics: dict[str, float] = Field({}, description="In their usual sense.")
    seconds: float | None = None
    memory_mb: float | None = None
    reason: str | None = None
    asked_at: datetime
    told_at: datetime | None

    @classmethod
    def from_row(cls, row: TrialRow) -> TrialRead:
        """A trial as clients see it."""
        proposal, trial = row.proposal, row.trial or {}
        configuration = dict(proposal["configuration"])
        return cls(
            number=row.number,
            learner=configuration["learner"],
            configuration=configuration,
            fidelity=proposal.get("fidelity", {}),
            source=proposal.get("source", ""),
            status=row.status,
            loss=row.loss,
            fold_losses=list(trial.get("fold_losses", ())),
            metrics=trial.get("metrics", {}),
            seconds=trial.get("seconds"),
            memory_mb=trial.get("memory_mb"),
            reason=trial.get("reason"),
            asked_at=row.asked_at,
            told_at=row.told_at,
        )


class LeaderboardRow(BaseModel):
    """A fully evaluated trial."""

    rank: int
    trial: int
    learner: str
    loss: float
    metrics: dict[str, float]
    seconds: float
    predict_ms_per_row: float = Field(description="Of one of its models, in batches of 1,000 on one core.")
    megabytes: float = Field(description="Of one of its models.")
    is_pareto: bool = Field(description="No other trial is better, faster and smaller at once.")
    weight: float = Field(description="Its share in the model; 0: not a member.")
    configuration: dict[str, Any]


class Leaderboard(BaseModel):
    """Fully evaluated trials, best first."""

    metric: str
    model_id: UUID | None
    items: list[LeaderboardRow]
