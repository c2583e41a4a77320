"""Every format of a member: the same predictions after a round trip through files, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from catboost import CatBoostClassifier, CatBoostRegressor
from lightgbm import LGBMClassifier, LGBMRegressor
from sklearn.base import BaseEstimator
from sklearn.ensemble import (
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from workers.engine.bundle.export import MemberExport
from workers.engine.bundle.runtime.encoder import Encoder
from workers.engine.bundle.runtime.errors import BundleProblem
from workers.engine.bundle.runtime.estimators import load_estimator
from workers.engine.bundle.runtime.members import load_member
from workers.engine.bundle.runtime.numbers import NumberPart
from workers.engine.bundle.save import save_member
from workers.engine.types import TaskKind

ENCODER = Encoder(numbers=NumberPart(plain=("a", "b", "c")))
QUIET: dict[str, Any] = {"iterations": 5, "verbose": False, "allow_writing_files": False, "thread_count": 1}
TREES: dict[str, Any] = {"n_estimators": 7, "random_state": 0}
ESTIMATORS = [
    (LGBMClassifier(n_estimators=5, verbose=-1, n_jobs=1), "lightgbm", 3),
    (LGBMClassifier(n_estimators=5, verbose=-1, n_jobs=1), "lightgbm", 2),
    (LGBMRegressor(n_estimators=5, verbose=-1, n_jobs=1), "lightgbm", 0),
    (CatBoostClassifier(**QUIET), "catboost", 2),
    (CatBoostClassifier(**QUIET), "catboost", 3),
    (CatBoostRegressor(**QUIET), "catboost", 0),
    (RandomForestClassifier(**TREES), "forest", 3),
    (ExtraTreesClassifier(**TREES), "forest", 2),
    (RandomForestRegressor(**TREES), "forest", 0),
    (ExtraTreesRegressor(**TREES), "forest", 0),
    (HistGradientBoostingClassifier(max_iter=5), "sklearn", 3),
    (LogisticRegression(), "sklearn", 3),
    (KNeighborsClassifier(algorithm="brute"), "sklearn", 2),
    (make_pipeline(StandardScaler(), Ridge()), "sklearn", 0),
]


@pytest.fixture(scope="module")
def data() -> Callable[[int], tuple[Any, Any]]:
    """(X, y) with so many classes; 0: regression."""

    def make(n_classes: int) -> tuple[Any, Any]:
        rng = np.random.default_rng(0)
        X = rng.normal(size=(80, 3)).astype(np.float32)
        signal = X[:, 0] + 0.5 * X[:, 1]
        if not n_classes:
            return X, 100 * signal + 1e4
        return X, np.searchsorted(np.quantile(signal, np.arange(1, n_classes) / n_classes), signal)

    return make


@pytest.mark.parametrize(
    ("estimator", "format_", "n_classes"),
    ESTIMATORS,
    ids=[f"{type(estimator).__name__}-{n}" for estimator, _, n in ESTIMATORS],
)
def test_member_predicts_the_same_when_saved_and_loaded(
    estimator: Any, format_: str, n_classes: int, data: Callable[..., Any], tmp_path: Path
) -> None:
    X, y = data(n_classes)
    estimator.fit(X, y)
    kind = [TaskKind.REGRESSION, TaskKind.BINARY, TaskKind.BINARY, TaskKind.MULTICLASS][n_classes]
    save_member(tmp_path, ENCODER, estimator, kind, n_classes)
    assert json.loads((tmp_path / "member.json").read_text())["format"] == format_
    found = load_member(tmp_path).predict(X)
    expected = estimator.predict_proba(X) if n_classes else estimator.predict(X)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)


def test_absent_classes_get_probability_zero(data: Callable[..., Any], tmp_path: Path) -> None:
    X, y = data(2)
    save_member(tmp_path, ENCODER, LogisticRegression().fit(X, y * 2), TaskKind.MULTICLASS, 4)
    found = load_member(tmp_path).predict(X)
    assert found.shape == (80, 4)
    assert (found[:, [1, 3]] == 0).all()


class Exported:
    """An estimator of ours."""

    def __init__(self, export: MemberExport) -> None:
        self.export = export

    def export_member(self) -> MemberExport:
        return self.export


def test_values_are_in_the_target_s_unit_when_the_model_saw_it_scaled(tmp_path: Path) -> None:
    export = MemberExport(format="constant", model=[2.0], shift=10.0, scale=3.0)
    save_member(tmp_path, ENCODER, Exported(export), TaskKind.REGRESSION, 0)
    assert load_member(tmp_path).predict(np.zeros((4, 3), dtype=np.float32)).tolist() == [16.0] * 4


class Evil(BaseEstimator):
    """A type that no bundle may contain."""

    def predict(self, X: Any) -> Any:
        return X


def shout(X: Any) -> Any:
    """A function that no bundle may contain."""
    return X


@pytest.mark.parametrize("estimator", [Evil(), make_pipeline(FunctionTransformer(shout), Evil())])
def test_types_outside_the_allow_list_are_refused(estimator: Any, tmp_path: Path) -> None:
    save_member(tmp_path, ENCODER, estimator, TaskKind.REGRESSION, 0)
    with pytest.raises(BundleProblem, match=r"may not contain.*Evil"):
        load_member(tmp_path)


@pytest.mark.parametrize("data", [b"", b"junk", b"\x80\x04\x95cos\nsystem\n."])
def test_what_is_no_skops_file_is_refused(data: bytes) -> None:
    with pytest.raises(BundleProblem):
        load_estimator(data)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("left", lambda a: np.where(a > 0, 10_000_000, a)),
        ("right", lambda a: np.where(a > 0, 0, a)),
        ("feature", lambda a: a + 100),
        ("leaves", lambda a: a[1:]),
        ("sizes", lambda a: a * 2),
        ("threshold", lambda a: a[:3]),
    ],
)
def test_forest_is_refused_when_its_arrays_do_not_fit(
    name: str, change: Callable[[Any], Any], data: Callable[..., Any], tmp_path: Path
) -> None:
    X, y = data(2)
    save_member(tmp_path, ENCODER, RandomForestClassifier(**TREES).fit(X, y), TaskKind.BINARY, 2)
    with np.load(tmp_path / "forest.npz") as file:
        arrays = {key: file[key] for key in file.files}
    arrays[name] = change(arrays[name])
    np.savez(tmp_path / "forest.npz", **arrays)
    with pytest.raises(BundleProblem):
        load_member(tmp_path)


def test_forest_is_refused_when_it_holds_objects(data: Callable[..., Any], tmp_path: Path) -> None:
    X, y = data(2)
    save_member(tmp_path, ENCODER, RandomForestClassifier(**TREES).fit(X, y), TaskKind.BINARY, 2)
    np.savez(tmp_path / "forest.npz", sizes=np.array([object()], dtype=object))
    with pytest.raises(BundleProblem):
        load_member(tmp_path)


def test_member_is_refused_when_its_format_is_unknown(tmp_path: Path) -> None:
    save_member(tmp_path, ENCODER, Exported(MemberExport(format="constant", model=[1.0])), TaskKind.REGRESSION, 0)
    (tmp_path / "member.json").write_text('{"format": "pickle", "n_classes": 0}')
    with pytest.raises(BundleProblem, match="pickle"):
        load_member(tmp_path)
