"""What is known of a task before any trial: general, statistical and information-theoretic numbers, and landmarkers.

Names are stable and only ever added to: knowledge keeps them for years. All values are finite. Sources: Brazdil et al.,
Metalearning (2022), chapter 4; Rivolli et al., "Meta-features for meta-learning" (2022).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..bundle.runtime.schema import Columns, Schema
from ..types import TaskKind

_ROWS = 3_000  # of the sample for statistics
_LANDMARK_ROWS, _LANDMARK_COLUMNS = 500, 60
_COLUMNS = 100  # at most so many columns are looked at closely
_BINS = 10
_LEVELS = 10  # of a category in the landmarkers' matrix
_FOLDS = 3

Array = NDArray[Any]


def metafeatures(
    columns: Columns, schema: Schema, y: Array, kind: TaskKind | str, *, n_rows: int | None = None
) -> dict[str, float]:
    """Metafeatures by name, in at most half a second.

    Args:
        columns: the features.
        schema: their kinds.
        y: class indices, or numbers; as many as rows.
        kind: of the task.
        n_rows: of the table that these are a sample of; None: they are all of it.
    """
    is_classes = TaskKind(kind).is_classification
    rng = np.random.default_rng(0)
    rows = np.sort(rng.choice(len(y), min(len(y), _ROWS), replace=False))
    names = [field.name for field in schema.fields]
    if len(names) > _COLUMNS:
        names = [names[place] for place in np.sort(rng.choice(len(names), _COLUMNS, replace=False))]
    kinds = {field.name: field.kind for field in schema.fields}
    sample = {name: columns[name][rows] for name in names}
    answer = y[rows]
    found = {
        **_general(schema, y, is_classes, n_rows or len(y)),
        **_missing(sample, kinds),
        **_statistical([sample[name] for name in names if kinds[name] in ("number", "datetime")]),
        **_categorical([sample[name] for name in names if kinds[name] == "category"]),
        **(_class_target(answer) if is_classes else _number_target(answer)),
        **_information(sample, kinds, answer, is_classes),
        **_landmarkers(sample, kinds, answer, is_classes, rng),
    }
    return {name: float(value) for name, value in found.items() if np.isfinite(value)}


# --- general


def _general(schema: Schema, y: Array, is_classes: bool, rows: int) -> dict[str, float]:
    count = len(schema.fields)
    kinds = [field.kind for field in schema.fields]
    shares = {
        f"share_{kind}": kinds.count(kind) / count for kind in ("number", "category", "boolean", "datetime", "text")
    }
    return {
        "rows": rows,
        "columns": count,
        "log_rows": np.log10(rows),
        "log_columns": np.log10(count),
        "rows_per_column": rows / count,
        "classes": len(np.unique(y)) if is_classes else 0,
        **shares,
    }


def _missing(sample: Columns, kinds: dict[str, str]) -> dict[str, float]:
    mask = np.stack([is_missing(values, kinds[name]) for name, values in sample.items()])
    return {
        "missing_share": mask.mean(),
        "missing_columns_share": mask.any(axis=1).mean(),
        "missing_rows_share": mask.any(axis=0).mean(),
    }


def is_missing(values: Array, kind: str) -> Array:
    """Which cells hold no value."""
    if kind == "category":
        return values < 0
    return values == "" if kind == "text" else np.isnan(values)


# --- statistical


def _statistical(numbers: list[Array]) -> dict[str, float]:
    """Shape of the numeric columns, each standardised first."""
    if not numbers:
        return {}
    matrix = _standardised(np.stack(numbers, axis=1))
    skew, kurtosis = (matrix**3).mean(axis=0), (matrix**4).mean(axis=0) - 3
    result = {
        **_summary("skew", np.abs(skew)),
        **_summary("kurtosis", np.clip(kurtosis, -10, 1000)),
        **_summary("outliers", (np.abs(matrix) > 3).mean(axis=0)),
        **_summary("zeros", np.stack([(column == 0).mean() for column in numbers])),
        **_summary("distinct_share", np.stack([len(np.unique(column)) / len(column) for column in numbers])),
    }
    if matrix.shape[1] > 1:
        result |= _correlations(matrix)
    return result


def _correlations(matrix: Array) -> dict[str, float]:
    width = matrix.shape[1]
    correlation = (matrix.T @ matrix) / len(matrix)
    off = np.abs(correlation[np.triu_indices(width, 1)])
    eigenvalues = np.clip(np.linalg.eigvalsh(correlation)[::-1], 0, None)
    total = eigenvalues.sum() or 1.0
    needed = np.searchsorted(np.cumsum(eigenvalues) / total, 0.95) + 1
    return {**_summary("correlation", off), "pca_first": eigenvalues[0] / total, "pca_95_share": needed / width}


def _standardised(matrix: Array) -> Array:
    """Columns with mean 0 and deviation 1; missing cells 0. Huge values are scaled first: squares stay finite."""
    matrix = matrix / np.maximum(np.nanmax(np.abs(np.nan_to_num(matrix)), axis=0), 1e-300)
    present = ~np.isnan(matrix)
    counts = np.maximum(present.sum(axis=0), 1)
    filled = np.where(present, matrix, 0.0)
    centred = np.where(present, matrix - filled.sum(axis=0) / counts, 0.0)
    deviation = np.sqrt((centred**2).sum(axis=0) / counts)
    result: Array = centred / np.where(deviation > 1e-12, deviation, 1.0)
    return result


def _summary(name: str, values: Array) -> dict[str, float]:
    return {f"{name}_mean": values.mean(), f"{name}_max": values.max(), f"{name}_std": values.std()}


def _categorical(codes: list[Array]) -> dict[str, float]:
    if not codes:
        return {}
    counts = [_level_counts(column) for column in codes]
    levels = np.array([np.count_nonzero(count) for count in counts], dtype=np.float64)
    top = np.array([count.max() / max(1, count.sum()) for count in counts])
    return {**_summary("levels", np.log10(np.maximum(levels, 1))), **_summary("top_level", top)}


def _level_counts(codes: Array) -> Array:
    present = codes[codes >= 0]
    return np.bincount(present, minlength=1)


# --- target and information


def _class_target(y: Array) -> dict[str, float]:
    counts = np.bincount(y)
    shares = np.asarray(counts[counts > 0] / len(y), dtype=np.float64)
    entropy = _entropy(shares)
    return {
        "class_entropy": entropy,
        "class_entropy_share": entropy / np.log(len(shares)) if len(shares) > 1 else 0.0,
        "majority_share": float(shares.max()),
        "minority_share": float(shares.min()),
    }


def _number_target(y: Array) -> dict[str, float]:
    standard = _standardised(y[:, None].astype(np.float64))[:, 0]
    return {
        "target_skew": (standard**3).mean(),
        "target_kurtosis": np.clip((standard**4).mean() - 3, -10, 1000),
        "target_outliers": (np.abs(standard) > 3).mean(),
        "target_distinct_share": len(np.unique(y)) / len(y),
        "target_is_integer": float(np.all(y == np.floor(y))),
        "target_is_positive": float(y.min() > 0),
        "target_zeros": (y == 0).mean(),
    }


def _entropy(shares: Array) -> float:
    shares = shares[shares > 0]
    return float(-(shares * np.log(shares)).sum())


def _information(sample: Columns, kinds: dict[str, str], y: Array, is_classes: bool) -> dict[str, float]:
    """Mutual information of each binned column with the (binned) target, as a share of the target's entropy."""
    target = y.astype(np.int64) if is_classes else _binned(y.astype(np.float64))
    target = np.minimum(target, 99)
    entropy = _entropy(np.bincount(target) / len(target))
    informations, entropies = [], []
    for name, values in sample.items():
        codes = _codes(values, kinds[name])
        joint = np.bincount(codes * 100 + target, minlength=100 * (codes.max() + 1)).reshape(-1, 100) / len(target)
        own = _entropy(joint.sum(axis=1))
        cells = np.count_nonzero(joint) - np.count_nonzero(joint.sum(axis=1)) - np.count_nonzero(joint.sum(axis=0)) + 1
        bias = max(0.0, float(cells)) / (2 * len(target))  # Miller and Madow
        informations.append(max(0.0, own + entropy - _entropy(joint.ravel()) - bias))
        entropies.append(own)
    information = np.array(informations, dtype=np.float64)
    mean = float(information.mean())
    return {
        **_summary("information", information / max(entropy, 1e-12)),
        **_summary("column_entropy", np.array(entropies)),
        "log_equivalent_columns": np.log10(min(entropy / mean, 1e6) if mean > 1e-9 else 1e6),
        "log_noise_to_signal": np.log10(min(float(np.mean(entropies)) / mean, 1e6) if mean > 1e-9 else 1e6),
    }


def _codes(values: Array, kind: str) -> Array:
    if kind == "category":
        return np.minimum(values.astype(np.int64) + 1, 500)
    if kind == "text":
        values = np.array([float(len(text)) for text in values])
    return _binned(values)


def _binned(numbers: Array) -> Array:
    """Bins of as many rows each; 0 missing."""
    present = numbers[~np.isnan(numbers)]
    if len(present) == 0:
        return np.zeros(len(numbers), dtype=np.int64)
    edges = np.unique(np.sort(present)[np.arange(1, _BINS) * len(present) // _BINS])
    return np.where(np.isnan(numbers), 0, np.searchsorted(edges, numbers, side="left") + 1)


# --- landmarkers


def _landmarkers(
    sample: Columns, kinds: dict[str, str], y: Array, is_classes: bool, rng: np.random.Generator
) -> dict[str, float]:
    """Cross-validated balanced accuracy or R² (in -1..1) of simple learners on at most 500 rows, 60 columns."""
    rows = rng.choice(len(y), min(len(y), _LANDMARK_ROWS), replace=False)
    X = _matrix({name: values[rows] for name, values in sample.items()}, kinds)
    if X.shape[1] > _LANDMARK_COLUMNS:
        X = X[:, np.sort(rng.choice(X.shape[1], _LANDMARK_COLUMNS, replace=False))]
    answer = y[rows]
    folds = _stratified(answer) if is_classes else np.arange(len(rows)) % _FOLDS
    if X.shape[1] == 0 or (is_classes and len(np.unique(answer)) < 2):
        return {}
    with np.errstate(all="ignore"):  # a fold in which a column is constant
        scores = {name: _score(make, X, answer, folds, is_classes) for name, make in _makers(is_classes).items()}
    best = max(scores.values())
    return {**scores, "landmark_best": best, "landmark_gap": best - scores["landmark_linear"]}


def _makers(is_classes: bool) -> dict[str, Callable[[], Any]]:
    from sklearn.linear_model import Ridge, RidgeClassifier
    from sklearn.naive_bayes import GaussianNB
    from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
    from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

    if is_classes:
        return {
            "landmark_nearest": lambda: KNeighborsClassifier(1, algorithm="brute"),
            "landmark_bayes": GaussianNB,
            "landmark_stump": lambda: DecisionTreeClassifier(max_depth=1, random_state=0),
            "landmark_tree": lambda: DecisionTreeClassifier(min_samples_leaf=3, random_state=0),
            "landmark_linear": lambda: RidgeClassifier(1.0),
        }
    return {
        "landmark_nearest": lambda: KNeighborsRegressor(1, algorithm="brute"),
        "landmark_stump": lambda: DecisionTreeRegressor(max_depth=1, random_state=0),
        "landmark_tree": lambda: DecisionTreeRegressor(min_samples_leaf=3, random_state=0),
        "landmark_linear": lambda: Ridge(1.0),
    }


def _matrix(sample: Columns, kinds: dict[str, str]) -> Array:
    """Standardised numbers, and the most frequent levels of categories as 0 and 1; no constant columns."""
    parts = []
    for name, values in sample.items():
        if kinds[name] == "category":
            top = np.argsort(-_level_counts(values), kind="stable")[:_LEVELS]
            parts.append((values[:, None] == top[None, :]).astype(np.float64))
        elif kinds[name] == "text":
            counted = [(float(len(text)), float(text.count(" "))) for text in values]
            parts.append(_standardised(np.array(counted)))
        else:
            parts.append(_standardised(values[:, None].astype(np.float64)))
    matrix = np.concatenate(parts, axis=1)
    return matrix[:, np.ptp(matrix, axis=0) > 0]


def _stratified(y: Array) -> Array:
    """A fold for each row, classes spread evenly."""
    folds = np.empty(len(y), dtype=np.int64)
    folds[np.argsort(y, kind="stable")] = np.arange(len(y)) % _FOLDS
    return folds


def _score(make: Callable[[], Any], X: Array, y: Array, folds: Array, is_classes: bool) -> float:
    predicted = np.empty(len(y), dtype=np.float64)
    for fold in range(_FOLDS):
        test = folds == fold
        fit = ~test
        if len(np.unique(y[fit])) < 2:
            predicted[test] = y[fit][0]
        else:
            predicted[test] = make().fit(X[fit], y[fit]).predict(X[test])
    if is_classes:
        return float(np.mean([(predicted[y == label] == label).mean() for label in np.unique(y)]))
    spread = float(((y - y.mean()) ** 2).sum())
    return float(np.clip(1 - ((y - predicted) ** 2).sum() / spread, -1, 1)) if spread > 0 else 0.0
