"""Fits what is made of encoded columns: selection, products, principal components."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..bundle.runtime.derived import DerivedPart
from .options import EncoderOptions

Array = np.ndarray[Any, Any]

_MOST_ROWS = 20_000  # that are looked at
_FLAT = 1e-6  # deviation of a product that says nothing


def fit_derived(options: EncoderOptions, X: Array, y: Array, n_classes: int, seed: int) -> DerivedPart | None:
    """What `options.columns` asks for; None where nothing is to be done.

    Args:
        options: `columns` and its number.
        X: (n, columns) encoded training rows, finite.
        y: (n,) class indices or values.
        n_classes: 0 in regression.
        seed: of the axes' random start.
    """
    if options.columns == "all":
        return None
    if len(X) > _MOST_ROWS:
        rows = np.sort(np.random.default_rng(seed).choice(len(X), _MOST_ROWS, replace=False))
        X, y = X[rows], y[rows]
    width = X.shape[1]
    if options.columns == "relevant":
        count = max(1, math.ceil(options.share * width))
        return DerivedPart(kept=np.sort(most_relevant(X, y, n_classes, count))) if count < width else None
    if options.columns == "products":
        return _products(X, most_relevant(X, y, n_classes, options.paired))
    if options.columns == "components" and options.components < width:
        return _components(X, options.components, seed)
    return None


def most_relevant(X: Array, y: Array, n_classes: int, count: int) -> Array:
    """Places of the columns that explain most of the target alone, best first.

    The correlation ratio in classification, the squared correlation in regression: the order of the F test.
    """
    X = X.astype(np.float64)
    X = X - X.mean(axis=0)
    total = (X**2).sum(axis=0)
    if n_classes:
        member = np.eye(n_classes)[y]
        between = ((member.T @ X) ** 2 / np.maximum(member.sum(axis=0), 1)[:, None]).sum(axis=0)
    else:
        target = y - y.mean()
        between = (target @ X) ** 2 / max(float(target @ target), 1e-300)
    explained = np.divide(between, total, out=np.zeros_like(total), where=total > 1e-9 * len(X))
    return np.argsort(-explained, kind="stable")[:count]


def _products(X: Array, chosen: Array) -> DerivedPart | None:
    left, right = np.triu_indices(len(chosen))
    pairs = np.stack([chosen[left], chosen[right]], axis=1)
    products = DerivedPart(pairs=pairs).products(X)
    mean, scale = products.mean(axis=0), products.std(axis=0)
    varies = scale > _FLAT
    if not varies.any():
        return None
    return DerivedPart(pairs=pairs[varies], mean=mean[varies], scale=scale[varies])


def _components(X: Array, count: int, seed: int) -> DerivedPart:
    from sklearn.utils.extmath import randomized_svd

    centre = X.mean(axis=0, dtype=np.float64)
    axes = randomized_svd(X - centre, min(count, *X.shape), random_state=seed)[2].T
    return DerivedPart(centre=centre, axes=axes)
