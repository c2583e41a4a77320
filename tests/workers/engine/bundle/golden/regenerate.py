"""Makes the golden bundles of the present format. Only when FORMAT_VERSION was raised; those of old formats stay.

python tests/workers/engine/bundle/golden/regenerate.py
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from workers.engine.bundle import open_bundle
from workers.engine.bundle.runtime import FORMAT_VERSION
from workers.engine.bundle.runtime.members import load_member
from workers.engine.bundle.runtime.schema import Field, Schema
from workers.engine.bundle.runtime.stack import stack_columns
from workers.engine.bundle.save import assemble, save_member
from workers.engine.catalog import get_learner
from workers.engine.learners.base import FitContext
from workers.engine.preprocessing.fit import fit_encoder
from workers.engine.space import Space
from workers.engine.types import Score, Task, TaskKind

FOLDER = Path(__file__).parent / f"v{FORMAT_VERSION}"
N = 120
SCHEMA = Schema(
    (
        Field("age", "number"),
        Field("pay/€", "number"),
        Field("job", "category", ("cook", "driver", "teacher")),
        Field("zip", "category", ("1000", "2000", "3000", "4000")),
        Field("since", "datetime"),
        Field("member", "boolean"),
        Field("note", "text"),
    )
)
ROWS = [
    {
        "age": 41,
        "pay/€": 2500.5,
        "job": "cook",
        "zip": 1000,
        "since": "2020-05-01",
        "member": True,
        "note": "likes tea",
    },
    {
        "age": "33",
        "pay/€": None,
        "job": "pilot",
        "zip": "2000",
        "since": "2021-12-31T23:59:59Z",
        "member": "no",
        "note": "",
    },
    {"age": None, "pay/€": 1e12, "job": None, "zip": 3000.0, "since": None, "member": None, "note": None},
    {
        "age": -5.25,
        "pay/€": "1e3",
        "job": "teacher",
        "zip": "9",
        "since": 1600000000,
        "member": 0,
        "note": "coffee, no tea",
    },
]
SMALL: dict[str, dict[str, Any]] = {
    "random_forest": {"n_estimators": 5},
    "extra_trees": {"n_estimators": 5},
    "lightgbm": {"n_estimators": 10, "num_leaves": 4},
    "catboost": {"iterations": 10, "depth": 3},
    "network": {"width": 8, "blocks": 1},
}
DERIVED: dict[str, dict[str, Any]] = {
    "linear": {"prep_columns": "products", "prep_paired": 3},
    "svm": {"prep_columns": "components", "prep_components": 4},
    "nearest_neighbours": {"prep_columns": "relevant", "prep_share": 0.5},
}
LEARNERS = {
    TaskKind.BINARY: ("lightgbm", "linear", "extra_trees", "naive_bayes", "dummy"),
    TaskKind.MULTICLASS: ("catboost", "network", "discriminant", "random_forest"),
    TaskKind.REGRESSION: ("lightgbm", "catboost", "svm", "nearest_neighbours", "network", "extra_trees"),
}


def make_columns(rng: np.random.Generator) -> dict[str, Any]:
    """Training columns with missing cells."""
    holes = rng.random((3, N)) < 0.1
    return {
        "age": np.where(holes[0], np.nan, rng.normal(40, 10, N)),
        "pay/€": np.where(holes[1], np.nan, rng.lognormal(7, 1, N)),
        "job": rng.integers(-1, 3, N).astype(np.int32),
        "zip": rng.integers(0, 4, N).astype(np.int32),
        "since": np.where(holes[2], np.nan, rng.uniform(1.4e9, 1.6e9, N)),
        "member": rng.integers(0, 2, N).astype(float),
        "note": np.array([" ".join(rng.choice(["likes", "tea", "coffee", "no"], 3)) for _ in range(N)], dtype=object),
    }


def make_bundle(path: Path, kind: TaskKind, learners: tuple[str, ...] | None = None, folds: int = 1) -> None:
    """Write a bundle of small models."""
    rng = np.random.default_rng(0)
    columns = make_columns(rng)
    signal = np.nan_to_num(columns["age"], nan=40) / 10 + (columns["job"] == 2) + 0.3 * rng.normal(size=N)
    k = {TaskKind.BINARY: 2, TaskKind.MULTICLASS: 3}.get(kind, 0)
    y = np.searchsorted(np.quantile(signal, np.arange(1, k) / k), signal) if k else signal
    metric = "log_loss" if k else "rmse"
    task = Task(target="y", kind=kind, metric=metric, classes=("no", "yes", "maybe")[:k])
    with tempfile.TemporaryDirectory() as scratch:
        members = []
        for number, name in enumerate(learners or LEARNERS[kind]):
            folders = [Path(scratch) / str(number) / f"fold_{fold}" for fold in range(folds)]
            for fold, folder in enumerate(folders):
                save_model(folder, name, columns, y, kind, k, fold)
            members.append((1.0 + number, folders, {"trial": number, "learner": name}))
        stack = [] if learners else [make_stacker(Path(scratch) / "stack", members, columns, y, kind, k)]
        score = Score(metric=metric, value=0.5, low=0.4, high=0.6, method="bbc-cv", rows=N)
        extra = {"rows": N, "temperature": 0.8 if k else 1.0}
        assemble(path, task=task, schema=SCHEMA, members=members, stack=stack, score=score, extra=extra)


def make_stacker(folder: Path, members: list[Any], columns: Any, y: Any, kind: TaskKind, k: int) -> Any:
    """A linear model over what the first two members predict of their training rows."""
    each = [load_member(folders[0]).predict_columns(columns) for _, folders, _ in members[:2]]
    inputs = stack_columns(each)
    schema = Schema(tuple(Field(name, "number") for name in inputs))
    space = Space(["linear"], kind)
    options = space.complete("linear", {"C": 0.1})
    encoder, X = fit_encoder(options, schema, inputs, y, kind, k, 0)
    context = FitContext(kind=kind, n_classes=k, n_rows=N, n_columns=X.shape[1], categorical=(), threads=1, seed=0)
    save_member(folder, encoder, get_learner("linear").build(options, context).fit(X, y), kind, k)
    return 2.0, [folder], {"learner": "linear", "inputs": list(range(len(each)))}


def save_model(folder: Path, name: str, columns: Any, y: Any, kind: TaskKind, k: int, seed: int) -> None:
    """Fit a learner's default, made small, and save it."""
    space = Space([name], kind)
    given = {**space.learners[name].defaults[0], **DERIVED.get(name, {})}
    options = {**space.complete(name, given), **SMALL.get(name, {})}
    if "prep_text" in options:
        options |= {"prep_text": "word", "prep_text_dims": 4}
    encoder, X = fit_encoder(options, SCHEMA, columns, y, kind, k, seed)
    context = FitContext(
        kind=kind, n_classes=k, n_rows=N, n_columns=X.shape[1], categorical=encoder.categorical,
        threads=1, seed=seed, iterations=10 if get_learner(name).stops_early else None,
    )  # fmt: skip
    save_member(folder, encoder, get_learner(name).build(options, context).fit(X, y), kind, k)


def main() -> None:
    """Write every bundle, and what it must go on to answer."""
    FOLDER.mkdir(exist_ok=True)
    (FOLDER / "rows.json").write_text(json.dumps(ROWS, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    for kind in TaskKind:
        make_bundle(FOLDER / f"{kind}.zip", kind)
        answer = open_bundle(FOLDER / f"{kind}.zip").predict(ROWS)
        text = json.dumps(answer, indent=1, ensure_ascii=False)
        (FOLDER / f"{kind}.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
