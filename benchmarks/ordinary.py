"""Ordinary learners at their libraries' defaults, beside which those that have learned to learn stand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workers.engine.bundle.runtime.members import catboost_rows

Array = NDArray[Any]

_TREES = {"prep_category": "ordinal", "prep_text": "word", "prep_text_dims": 16, "prep_indicators": True}
_SCALED = {**_TREES, "prep_category": "onehot", "prep_scale": "standard"}
#: by name, how the columns of each become numbers
ENCODINGS: dict[str, dict[str, Any]] = {
    "linear_cv": _SCALED,
    "knn": _SCALED,
    "svm": _SCALED,
    "random_forest": _TREES,
    "catboost": {**_TREES, "prep_category": "native", "prep_impute": "native"},
}


def answer(name: str, X: Array, y: Array, asked: Array, classes: int, categorical: list[int]) -> Array:
    """Margins or probabilities (n, classes), or values, of the rows that are asked about, by a library's estimator.

    AUC needs no more than margins, in whatever unit. `categorical` are columns of category codes.
    """
    if len(np.unique(y)) == 1 or not (X[0] != X).any():  # nothing to learn: some refuse it
        shares = np.bincount(y, minlength=classes) / len(y) if classes else y.mean()
        return np.tile(shares, (len(asked), 1)) if classes else np.full(len(asked), shares)
    if classes:
        model = _classifiers(X, y, categorical)[name]().fit(X, y)
        if hasattr(model, "predict_proba"):
            said = model.predict_proba(asked)
        else:
            said = model.decision_function(asked)
            said = np.stack([-said, said], axis=1) if said.ndim == 1 else said
        out = np.full((len(asked), classes), said.min() - 1)
        out[:, np.asarray(model.classes_).astype(int)] = said
        return np.asarray(out)
    mean, deviation = y.mean(), y.std() or 1.0
    model = _regressors(categorical)[name]().fit(X, (y - mean) / deviation)
    return np.asarray(model.predict(asked) * deviation + mean)


def _classifiers(X: Array, y: Array, categorical: list[int]) -> dict[str, Callable[[], Any]]:
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.linear_model import LogisticRegression, LogisticRegressionCV
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.svm import SVC

    folds = min(5, int(np.bincount(y)[np.unique(y)].min()))

    def linear() -> Any:
        if folds < 2:
            return LogisticRegression(max_iter=2_000)
        return LogisticRegressionCV(cv=folds, scoring="neg_log_loss", max_iter=2_000)

    return {
        "linear_cv": linear,
        "knn": lambda: KNeighborsClassifier(min(5, len(X))),
        "svm": lambda: SVC(decision_function_shape="ovr"),
        "random_forest": lambda: RandomForestClassifier(random_state=0),
        "catboost": lambda: _CatBoost("CatBoostClassifier", categorical),
    }


def _regressors(categorical: list[int]) -> dict[str, Callable[[], Any]]:
    from sklearn.ensemble import RandomForestRegressor
    from sklearn.linear_model import RidgeCV
    from sklearn.neighbors import KNeighborsRegressor
    from sklearn.svm import SVR

    return {
        "linear_cv": lambda: RidgeCV(np.logspace(-3, 3, 13)),
        "knn": lambda: KNeighborsRegressor(5),
        "svm": SVR,
        "random_forest": lambda: RandomForestRegressor(random_state=0),
        "catboost": lambda: _CatBoost("CatBoostRegressor", categorical),
    }


class _CatBoost:
    """At its defaults, category codes as categories."""

    def __init__(self, name: str, categorical: list[int]) -> None:
        import catboost

        self._model = getattr(catboost, name)(
            verbose=0, thread_count=1, allow_writing_files=False, random_seed=0, cat_features=categorical
        )
        self._categorical = categorical
        if name == "CatBoostClassifier":
            self.predict_proba = lambda X: self._model.predict_proba(self._rows(X))

    def fit(self, X: Array, y: Array) -> _CatBoost:
        """As scikit-learn's."""
        self._model.fit(self._rows(X), y)
        self.classes_ = getattr(self._model, "classes_", None)
        return self

    def predict(self, X: Array) -> Array:
        """Values."""
        return np.asarray(self._model.predict(self._rows(X)))

    def _rows(self, X: Array) -> Array:
        return catboost_rows(X, self._categorical)
