"""What can be said of a job before it runs: alerts, and what it will cost."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from app.blobs import Blobs
from app.datasets.service import leaking_alerts
from app.datasets.tables import Dataset
from app.jobs.schemas import Alert, Cost
from workers.engine.catalog import LEARNERS
from workers.engine.learners.base import Size
from workers.engine.space import Space
from workers.engine.types import ColumnKind, TaskKind

_FEW_ROWS = 100
_RARE_ROWS = 5
_UNUSED = (ColumnKind.ID, ColumnKind.CONSTANT)


def list_alerts(spec: Mapping[str, Any], dataset: Dataset, blobs: Blobs) -> list[Alert]:
    """The dataset's alerts on columns that the job uses, those of the target, and of features that give it away."""
    features = set(list_features(spec))
    used = {*features, spec["target"]}
    unused = {info["name"] for info in dataset.columns} - features
    leaks = leaking_alerts(blobs, dataset, spec["target"], spec["kind"], unused)
    alerts = [
        Alert(code=alert["code"], detail=alert["detail"], column=alert.get("column"), severity=alert["severity"])
        for alert in [*dataset.alerts, *leaks]
        if alert.get("column") in used or alert.get("column") is None
    ]
    return [*alerts, *_target_alerts(spec, dataset)]


def predict_cost(spec: Mapping[str, Any], dataset: Dataset) -> Cost:
    """The budget, and each learner's predicted seconds; learners that decline the table are left out."""
    size = measure(spec, dataset)
    space = make_space(spec, size)
    firsts = space.defaults()[: len(space.learners)]  # each learner's first
    fit_seconds = {first["learner"]: round(float(space.cost(first, size)), 3) for first in firsts}
    return Cost(seconds=spec["budget"]["seconds"], trials=spec["budget"]["trials"], fit_seconds=fit_seconds)


def list_features(spec: Mapping[str, Any]) -> list[str]:
    """Columns that a resolved spec uses as features."""
    features, validation = spec["features"], spec["validation"]
    reserved = {spec["weights_column"], validation["group_column"], validation["time_column"], *features["exclude"]}
    include = features["include"]
    return [
        name
        for name, kind in features["kinds"].items()
        if kind not in _UNUSED and name not in reserved and (include is None or name in include)
    ]


def measure(spec: Mapping[str, Any], dataset: Dataset) -> Size:
    """The size of a resolved spec's task."""
    target = _target(spec, dataset)
    classes = target["distinct"] if TaskKind(spec["kind"]).is_classification else 0
    return Size(rows=dataset.rows - target["missing"], columns=len(list_features(spec)), classes=classes)


def make_space(spec: Mapping[str, Any], size: Size) -> Space:
    """The space that a resolved spec searches.

    Raises:
        SpaceError: no algorithm is left.
    """
    algorithms = spec["algorithms"]
    names = LEARNERS if algorithms["include"] is None else algorithms["include"]
    return Space([name for name in names if name not in algorithms["exclude"]], TaskKind(spec["kind"]), size)


def _target(spec: Mapping[str, Any], dataset: Dataset) -> Mapping[str, Any]:
    return next(info for info in dataset.columns if info["name"] == spec["target"])


def _target_alerts(spec: Mapping[str, Any], dataset: Dataset) -> list[Alert]:
    target, name = _target(spec, dataset), spec["target"]
    alerts = []
    if target["missing"]:
        detail = f"Missing in {target['missing']:,} rows, which are left out."
        alerts.append(Alert(code="target_missing", detail=detail, column=name, severity="warning"))
    if dataset.rows - target["missing"] < _FEW_ROWS:
        detail = f"Only {dataset.rows - target['missing']} rows: expect wide intervals."
        alerts.append(Alert(code="few_rows", detail=detail, severity="warning"))
    if spec["kind"] != TaskKind.REGRESSION:
        rare = [entry["value"] for entry in target.get("classes", ()) if entry["count"] < _RARE_ROWS]
        if rare:
            detail = f"Classes in fewer than {_RARE_ROWS} rows: {', '.join(map(repr, rare[:5]))}."
            alerts.append(Alert(code="rare_class", detail=detail, column=name, severity="warning"))
    return alerts
