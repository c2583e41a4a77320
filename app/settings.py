"""Every option of the service, in one place. Environment variables carry the prefix WARMSTART_."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """Options with their defaults, units and bounds. `warmstart settings` prints this table."""

    model_config = SettingsConfigDict(env_prefix="WARMSTART_", extra="ignore", frozen=True)

    # Where things are
    data_dir: Path = Field(Path("data"), description="Folder of the embedded servers, blobs and scratch files.")
    database_url: SecretStr | None = Field(
        None, description="PostgreSQL, as postgresql://user:password@host:port/name. Unset: `warmstart up` embeds one."
    )
    broker_url: SecretStr | None = Field(
        None, description="Valkey or Redis, as redis://host:port/0 or redis+socket:///path. Unset: embedded."
    )
    blob_dir: Path | None = Field(None, description="Folder of datasets and bundles. Unset: data_dir/blobs.")
    foundation_models: Path | None = Field(
        None,
        description="Folder of official foundation models' weights, named tabicl* and tabpfn*, for every process. A "
        "package that is installed and has its weights there is an algorithm; nothing is downloaded.",
    )
    scratch_dir: Path | None = Field(None, description="Folder for temporary files. Unset: data_dir/scratch.")
    predictor_url: str | None = Field(
        None, description="Where the API finds predictors: http://host:port, or unix:///path. Unset: embedded."
    )

    # HTTP
    host: str = Field("127.0.0.1", description="Address that the API binds.")
    port: int = Field(8765, ge=0, le=65535, description="Port that the API binds; 0 takes a free one.")
    base_url: str = Field("", description="Prefix of links in answers, if a proxy changes it.")
    docs_enabled: bool = Field(True, description="Serve /docs.")
    api_threads: int = Field(40, ge=4, le=500, description="Threads that run requests in one API process.")
    wait_max_s: float = Field(30, gt=0, le=300, description="Longest `Prefer: wait`.")
    sse_heartbeat_s: float = Field(15, gt=0, description="Seconds between comments on a silent event stream.")
    sse_max_s: float = Field(
        600, gt=0, description="An event stream ends after this long; clients reconnect by themselves."
    )
    idempotency_ttl_s: float = Field(86_400, ge=60, description="How long an Idempotency-Key is remembered.")
    page_size: int = Field(50, ge=1, description="Items a page when the client does not say.")
    page_size_max: int = Field(500, ge=1, description="Items a page at most; larger requests get this many.")

    # Limits of what people send
    body_max_bytes: int = Field(1_000_000, ge=1000, description="Largest JSON body.")
    predict_body_max_bytes: int = Field(50_000_000, ge=1000, description="Largest body of a prediction request.")
    predict_rows_max: int = Field(100_000, ge=1, description="Rows in one prediction request.")
    upload_max_bytes: int = Field(4_000_000_000, ge=1000, description="Largest upload, as sent.")
    upload_idle_s: float = Field(30, gt=0, description="An upload that sends nothing for this long is cut.")
    upload_min_bytes_per_s: int = Field(1000, ge=0, description="Slower uploads are cut after a minute.")
    table_max_bytes: int = Field(8_000_000_000, ge=1000, description="Largest file after decompression.")
    table_max_ratio: float = Field(200, gt=1, description="Largest ratio of decompressed to compressed bytes.")
    table_max_columns: int = Field(5_000, ge=1, description="Columns of a dataset.")
    table_max_rows: int = Field(10_000_000, ge=1, description="Rows of a dataset.")
    read_seconds: float = Field(300, gt=0, description="Time to parse one upload.")
    read_memory_mb: int = Field(4096, ge=128, description="Memory to parse one upload.")
    upload_readers: int = Field(2, ge=1, description="Uploads that one API process parses side by side.")

    # Quotas of a project, unless the project has its own
    quota_running_jobs: int = Field(16, ge=1, description="Running jobs of a project.")
    quota_queued_jobs: int = Field(20_000, ge=1, description="Queued jobs of a project.")
    quota_bytes: int = Field(100_000_000_000, ge=1, description="Stored bytes of a project.")

    # Job engine
    tempo: float = Field(1.0, gt=0, le=10, description="Scales every interval below; 0.1 makes tests quick.")
    lease_s: float = Field(60, gt=0, description="A claim holds this long without a heartbeat.")
    heartbeat_s: float = Field(2, gt=0, description="Seconds between heartbeats.")
    self_kill_s: float = Field(45, gt=0, description="A supervisor that can't renew for this long kills its job.")
    sweep_s: float = Field(15, gt=0, description="Seconds between searches for expired leases.")
    republish_s: float = Field(20, gt=0, description="A published job that nobody claimed is published again.")
    cancel_grace_s: float = Field(3, ge=0, description="Between SIGTERM and SIGKILL on cancel.")
    publish_every_s: float = Field(5, ge=0, description="Best-so-far models are published at most this often.")
    max_attempts: int = Field(3, ge=1, description="Claims of one job before it fails as worker_lost.")
    budget_max_s: float = Field(86_400, gt=0, description="Largest budget.seconds.")
    worker_slots: int = Field(1, ge=1, description="Jobs that one worker runs side by side.")
    worker_cores: int | None = Field(None, ge=1, description="Cores of one worker. Unset: what the container grants.")
    worker_memory_mb: int | None = Field(None, ge=512, description="Memory of one worker. Unset: what is granted.")
    trial_memory_mb: int = Field(4096, ge=128, description="Memory of one trial when the spec does not say.")

    # Knowledge
    seed_knowledge: bool = Field(True, description="Load the past tasks that the package ships, once, when migrating.")
    train_seconds: float = Field(900, gt=0, le=86_400, description="Budget of one training of metamodels.")
    train_every_tasks: int = Field(
        0, ge=0, description="Train metamodels whenever so many tasks were shared since the last time; 0: when asked."
    )
    knowledge_import_max_bytes: int = Field(50_000_000, ge=1000, description="Largest archive imported, as sent.")
    knowledge_unpacked_max_bytes: int = Field(200_000_000, ge=1000, description="The same, unpacked.")
    recall_tasks: int = Field(300, ge=3, le=5_000, description="Nearest past tasks that a job learns from.")

    # Predictors
    predictor_processes: int = Field(1, ge=1, description="Predictor processes.")
    predictor_cache_mb: int = Field(1024, ge=16, description="Bundles kept loaded, by their bytes on disk.")

    # Operations
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="Least level logged.")
    log_format: Literal["json", "console"] = Field("json", description="How logs are written.")

    @property
    def blobs(self) -> Path:
        """Folder of blobs."""
        return self.blob_dir or self.data_dir / "blobs"

    @property
    def scratch(self) -> Path:
        """Folder of temporary files."""
        return self.scratch_dir or self.data_dir / "scratch"

    def interval(self, seconds: float) -> float:
        """An interval of the job engine, scaled by `tempo`."""
        return seconds * self.tempo


@lru_cache
def get_settings() -> Settings:
    """The settings of this process, read from the environment once."""
    return Settings()
