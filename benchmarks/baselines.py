"""What Warmstart is compared with: scikit-learn's random forest and CatBoost, both at their defaults."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.metrics import log_loss, roc_auc_score, root_mean_squared_error
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OrdinalEncoder

METRICS = {"binary": "roc_auc", "multiclass": "log_loss", "regression": "rmse"}


_CATBOOST_S = 600.0
_TEXT_CELLS = 10_000  # rows x classes up to which CatBoost is given text as text


def loss(kind: str, truth: np.ndarray, prediction: np.ndarray, classes: list[str]) -> float:
    """Lower is better: 1 - AUC, log loss, or RMSE. `prediction` is (n, classes) probabilities, or (n,) values."""
    if kind == "regression":
        return float(root_mean_squared_error(truth.astype(float), prediction))
    if kind == "binary":
        return 1.0 - float(roc_auc_score(truth == classes[1], prediction[:, 1]))
    return float(log_loss(truth, np.clip(prediction, 1e-15, 1), labels=classes))


def random_forest(kind: str, train: pd.DataFrame, target: str, test: pd.DataFrame) -> np.ndarray:
    """500 trees, all else default; text as ordinal codes, missing values as the forest handles them itself."""
    encode = make_column_transformer(
        (
            OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1),
            make_column_selector(dtype_exclude="number"),
        ),
        remainder="passthrough",
    )
    forest = RandomForestRegressor if kind == "regression" else RandomForestClassifier
    model = make_pipeline(encode, forest(n_estimators=500, n_jobs=2, random_state=0))
    model.fit(train.drop(columns=target), train[target])
    features = test.drop(columns=target)
    return _predict(model, kind, features)


def fit_catboost(kind: str, train: pd.DataFrame, target: str) -> Callable[[pd.DataFrame], np.ndarray]:
    """Defaults; text columns are categories, or CatBoost's text features where most cells are sentences.

    With many rows and classes its text features take too long (17 minutes on 13,139 rows of 8 classes did not do):
    there sentences are categories too. After ten minutes it keeps the trees that it has (26 classes can take an hour).
    """
    from catboost import CatBoostClassifier, CatBoostRegressor

    features = train.drop(columns=target)
    strings = [c for c in features if not pd.api.types.is_numeric_dtype(features[c])]
    classes = 1 if kind == "regression" else train[target].nunique()
    has_time = len(train) * classes <= _TEXT_CELLS
    texts = [c for c in strings if has_time and features[c].dropna().str.split().map(len).median() >= 5]
    categories = [c for c in strings if c not in texts]
    fill = dict.fromkeys(categories, "missing") | dict.fromkeys(texts, "")
    maker = CatBoostRegressor if kind == "regression" else CatBoostClassifier
    model = maker(
        verbose=0,
        allow_writing_files=False,
        thread_count=2,
        random_seed=0,
        cat_features=categories,
        text_features=texts,
    )
    until = time.monotonic() + _CATBOOST_S
    in_time = SimpleNamespace(after_iteration=lambda info: time.monotonic() < until)
    model.fit(features.fillna(fill), train[target], callbacks=[in_time])
    return lambda rows: _predict(model, kind, rows.fillna(fill))


def catboost(kind: str, train: pd.DataFrame, target: str, test: pd.DataFrame) -> np.ndarray:
    """`fit_catboost`, and its predictions of the test rows."""
    return fit_catboost(kind, train, target)(test.drop(columns=target))


def _predict(model: Any, kind: str, rows: pd.DataFrame) -> np.ndarray:
    """Values, or probabilities by the classes' order as text (CatBoost orders those that look like numbers as such)."""
    if kind == "regression":
        return np.asarray(model.predict(rows))
    labels = [str(label) for label in model.classes_]
    return np.asarray(model.predict_proba(rows))[:, np.argsort(labels)]
