"""A job spec against its dataset: everything filled in, or every reason why not."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from app.datasets.tables import Dataset
from app.errors import InvalidRequest
from app.jobs.preflight import make_space, measure
from app.jobs.schemas import JobSpec
from app.settings import Settings
from workers.engine.catalog import DEFAULT_METRIC, LEARNERS, METRICS, STRATEGIES, get_learner, infer_task_kind
from workers.engine.errors import SpaceError
from workers.engine.types import ColumnKind, Scheme, TaskKind

MIN_ROWS = 10  #: with a target
_NUMBERS = ("integer", "number", "boolean")
_NATURAL = {"integer": "number", "number": "number", "boolean": "boolean", "datetime": "datetime", "text": "category"}
_UNUSED = (ColumnKind.ID, ColumnKind.CONSTANT)
_USES_FOLDS = (Scheme.AUTO, Scheme.KFOLD, Scheme.REPEATED, Scheme.GROUP, Scheme.TIME)


def resolve_spec(spec: JobSpec, dataset: Dataset, settings: Settings) -> dict[str, Any]:
    """The spec as it is stored: JSON-able, every default filled in, every column's kind pinned.

    Raises:
        InvalidRequest: with one entry for each thing to change.
    """
    return _Resolver(spec, dataset, settings).resolve()


class _Resolver:
    """Collects every problem, so that one answer names them all."""

    def __init__(self, spec: JobSpec, dataset: Dataset, settings: Settings) -> None:
        self.spec = spec
        self.dataset = dataset
        self.settings = settings
        self.rows = dataset.rows
        self.columns: dict[str, Mapping[str, Any]] = {info["name"]: info for info in dataset.columns}
        self.statistics: Mapping[str, Mapping[str, Any]] = dataset.profile.get("columns", {})
        self.problems: list[dict[str, str]] = []

    def resolve(self) -> dict[str, Any]:
        spec = self.spec
        resolved = spec.model_dump(mode="json")
        self._check_budget(resolved)
        self._check_names()
        target = self._column("/target", spec.target)
        kind = self._resolve_kind(target) if target else None
        if kind is not None and target is not None:
            resolved |= {"kind": kind.value, "metric": self._resolve_metric(kind)}
            self._check_target(kind, target)
            resolved["positive_class"] = self._resolve_positive_class(kind, target)
            self._check_class_weight(kind, target)
        resolved["validation"]["scheme"] = self._resolve_validation()
        self._check_weights()
        resolved["features"]["kinds"] = self._resolve_features()
        if not self.problems:
            self._check_learners(resolved)
        if self.problems:
            first = self.problems[0]
            raise InvalidRequest(f"{first['pointer']}: {first['detail']}", errors=self.problems)
        return resolved

    def _problem(self, pointer: str, detail: str) -> None:
        self.problems.append({"pointer": pointer, "detail": detail})

    def _column(self, pointer: str, name: str) -> Mapping[str, Any] | None:
        if name in self.columns:
            return self.columns[name]
        self._problem(pointer, f"{name!r} is not a column of the dataset.{_hint(name, self.columns)}")
        return None

    def _check_budget(self, resolved: dict[str, Any]) -> None:
        budget, trial, longest = self.spec.budget, self.spec.trial, self.settings.budget_max_s
        if budget.seconds is None and budget.trials is None:
            self._problem("/budget", "Give seconds, trials, or both.")
        if budget.seconds is not None and budget.seconds > longest:
            self._problem("/budget/seconds", f"At most {longest:g}.")
        if trial.seconds is not None and budget.seconds is not None and trial.seconds > budget.seconds:
            self._problem("/trial/seconds", "One trial can't have more than the whole budget.")
        resolved["trial"]["memory_mb"] = trial.memory_mb or self.settings.trial_memory_mb

    def _check_names(self) -> None:
        if self.spec.strategy not in STRATEGIES:
            self._problem("/strategy", _unknown("strategy", self.spec.strategy, STRATEGIES))
        algorithms = self.spec.algorithms
        for part, names in (("include", algorithms.include or []), ("exclude", algorithms.exclude)):
            for place, name in enumerate(names):
                if name not in LEARNERS:
                    self._problem(f"/algorithms/{part}/{place}", _unknown("algorithm", name, LEARNERS))

    def _resolve_kind(self, target: Mapping[str, Any]) -> TaskKind | None:
        distinct, present = target["distinct"], self.rows - target["missing"]
        if present < MIN_ROWS:
            what = "in no row" if present == 0 else f"in {present} rows only"
            self._problem("/target", f"Present {what}; at least {MIN_ROWS} are needed.")
            return None
        if distinct < 2:
            self._problem("/target", "Has one value in every row: there is nothing to predict.")
            return None
        if self.spec.kind is not None:
            return self.spec.kind
        is_number = target["type"] in ("integer", "number") and target["kind"] in (ColumnKind.NUMBER, ColumnKind.ID)
        return infer_task_kind(
            "number" if is_number else target["kind"], distinct, present, bool(target.get("is_integer"))
        )

    def _check_target(self, kind: TaskKind, target: Mapping[str, Any]) -> None:
        distinct, present = target["distinct"], self.rows - target["missing"]
        if kind is TaskKind.BINARY and distinct != 2:
            self._problem("/kind", f"The target has {distinct:,} classes; binary needs exactly two. Use multiclass.")
        elif kind is TaskKind.MULTICLASS and distinct > max(2, present // 2):
            detail = f"The target has {distinct:,} classes in {present:,} rows, too many to learn."
            self._problem("/target", f"{detail} Is it an id, or should the kind be regression?")
        elif kind is TaskKind.REGRESSION and target["type"] not in _NUMBERS and not self._is_declared_number(target):
            self._problem("/kind", f"The target holds {target['type']}; regression needs numbers.")

    def _is_declared_number(self, target: Mapping[str, Any]) -> bool:
        return str(target["kind"]) == ColumnKind.NUMBER

    def _resolve_metric(self, kind: TaskKind) -> str:
        metric = self.spec.metric or DEFAULT_METRIC[kind]
        if metric not in METRICS:
            self._problem("/metric", _unknown("metric", metric, METRICS))
        elif kind not in METRICS[metric]:
            fitting = ", ".join(name for name, kinds in METRICS.items() if kind in kinds)
            self._problem("/metric", f"{metric} does not fit a {kind.value} task; fitting are {fitting}.")
        elif metric == "rmsle" and (lowest := self._statistic(self.spec.target, "min")) is not None and lowest < 0:
            self._problem("/metric", f"rmsle needs a target that is never negative; its least value is {lowest:g}.")
        return metric

    def _statistic(self, name: str, key: str) -> float | None:
        value = self.statistics.get(name, {}).get(key)
        return float(value) if isinstance(value, int | float) else None

    def _resolve_positive_class(self, kind: TaskKind, target: Mapping[str, Any]) -> str | None:
        given = self.spec.positive_class
        classes = _labels(target)
        if given is None:
            return classes[-1] if kind is TaskKind.BINARY and classes else None
        label = canonical_label(given)
        if kind is not TaskKind.BINARY:
            self._problem("/positive_class", f"Only a binary task has one; this one is {kind.value}.")
        elif classes and label not in classes:
            self._problem("/positive_class", f"{label!r} is not a class of the target; classes are {_list(classes)}.")
        return label

    def _check_class_weight(self, kind: TaskKind, target: Mapping[str, Any]) -> None:
        weights = self.spec.class_weight
        if weights is None:
            return
        if not kind.is_classification:
            self._problem("/class_weight", "Only classification has classes to weigh; this task is regression.")
        elif isinstance(weights, dict) and (classes := _labels(target)):
            for label in weights:
                if label not in classes:
                    detail = f"{label!r} is not a class of the target; classes are {_list(classes)}."
                    self._problem(f"/class_weight/{escape(label)}", detail)

    def _check_learners(self, resolved: dict[str, Any]) -> None:
        for place, name in enumerate(self.spec.algorithms.include or ()):
            if resolved["kind"] not in get_learner(name).kinds:
                self._problem(f"/algorithms/include/{place}", f"{name} can't do {resolved['kind']} tasks.")
        try:
            make_space(resolved, measure(resolved, self.dataset))
        except SpaceError as error:
            self._problem("/algorithms", str(error))

    def _resolve_validation(self) -> str:
        validation, scheme = self.spec.validation, self.spec.validation.scheme
        if scheme is Scheme.AUTO and (validation.group_column or validation.time_column):
            scheme = Scheme.GROUP if validation.group_column else Scheme.TIME
        self._check_special("group", validation.group_column, scheme is Scheme.GROUP)
        self._check_special("time", validation.time_column, scheme is Scheme.TIME)
        if validation.folds is not None and scheme not in _USES_FOLDS:
            self._problem("/validation/folds", f"The scheme {scheme.value} has no folds.")
        elif validation.folds is not None and validation.folds > self.rows:
            self._problem("/validation/folds", f"More folds than the {self.rows} rows.")
        return scheme.value

    def _check_special(self, what: str, name: str | None, is_used: bool) -> None:
        """The group or time column of the validation."""
        pointer = f"/validation/{what}_column"
        if name is None:
            if is_used:
                self._problem(pointer, f"The scheme {what} needs it.")
            return
        if not is_used:
            self._problem(pointer, f"Only the scheme {what} uses it.")
        elif name == self.spec.target:
            self._problem(pointer, "The target can't be it.")
        elif (info := self._column(pointer, name)) is not None:
            self._check_special_values(what, pointer, info)

    def _check_special_values(self, what: str, pointer: str, info: Mapping[str, Any]) -> None:
        if what == "group" and info["distinct"] + min(info["missing"], 1) < max(2, self.spec.validation.folds or 0):
            self._problem(pointer, f"Has {info['distinct']} groups: fewer than folds, or than two.")
        if what == "time" and info["type"] not in ("datetime", "integer", "number"):
            self._problem(pointer, f"Holds {info['type']}; dates or numbers are needed.")
        if what == "time" and info["missing"]:
            self._problem(pointer, f"Missing in {info['missing']:,} rows; every row needs a time.")

    def _check_weights(self) -> None:
        name, pointer = self.spec.weights_column, "/weights_column"
        if name is None:
            return
        if name == self.spec.target:
            self._problem(pointer, "The target can't be it.")
        elif (info := self._column(pointer, name)) is not None:
            lowest, highest = self._statistic(name, "min"), self._statistic(name, "max")
            if info["type"] not in ("integer", "number"):
                self._problem(pointer, f"Holds {info['type']}; weights are numbers.")
            elif info["missing"] or (lowest is not None and lowest < 0) or highest == 0:
                self._problem(pointer, "Weights must be numbers of at least 0 in every row, and not all 0.")

    def _resolve_features(self) -> dict[str, str]:
        """The kind of every column but the target; id and constant are no features."""
        features = self.spec.features
        for part, names in (("include", features.include or []), ("exclude", features.exclude)):
            for place, name in enumerate(names):
                self._column(f"/features/{part}/{place}", name)
        for name in features.kinds:
            self._column(f"/features/kinds/{escape(name)}", name)
        self._check_overlaps()
        kinds = {name: self._feature_kind(info) for name, info in self.columns.items() if name != self.spec.target}
        chosen = set(self.columns if features.include is None else features.include)
        chosen -= {*features.exclude, *self._reserved()}
        if not any(kinds.get(name, ColumnKind.ID) not in _UNUSED for name in chosen):
            self._problem("/features", "No feature is left: every other column is constant, an id, or taken away.")
        return kinds

    def _feature_kind(self, info: Mapping[str, Any]) -> str:
        override = self.spec.features.kinds.get(info["name"])
        if override is not None:
            return override.value
        is_named = info["name"] in (self.spec.features.include or ())
        return _NATURAL[info["type"]] if info["kind"] == ColumnKind.ID and is_named else str(info["kind"])

    def _check_overlaps(self) -> None:
        features, reserved = self.spec.features, self._reserved()
        for place, name in enumerate(features.include or ()):
            if name in features.exclude:
                self._problem(f"/features/include/{place}", f"{name!r} is excluded too.")
            elif name in reserved:
                self._problem(f"/features/include/{place}", f"{name!r} is {reserved[name]}, so no feature.")

    def _reserved(self) -> dict[str, str]:
        """Columns that are never features, and what they are."""
        validation = self.spec.validation
        roles = {
            "the target": self.spec.target,
            "the weights column": self.spec.weights_column,
            "the group column": validation.group_column,
            "the time column": validation.time_column,
        }
        return {name: role for role, name in roles.items() if name is not None}


def canonical_label(value: str | bool | int | float) -> str:
    """A label as text, as the engine writes it: 3.0 is "3", True is "true"."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return str(int(value))
    return str(value)


def escape(name: str) -> str:
    """A name as a part of a JSON Pointer."""
    return name.replace("~", "~0").replace("/", "~1")


def _labels(target: Mapping[str, Any]) -> list[str]:
    """Labels in the order of class indices; empty where the profile does not hold them."""
    return [str(entry["value"]) for entry in target.get("classes", ())]


def _list(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names[:10])) + (", …" if len(names) > 10 else "")


def _unknown(what: str, name: str, known: Collection[str]) -> str:
    return f"No {what} is called {name!r}.{_hint(name, known)} Known: {', '.join(known)}."


def _hint(name: str, known: Collection[str]) -> str:
    near = get_close_matches(name, known, n=3)
    return f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
