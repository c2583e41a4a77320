"""Synthetic tables: what a learner practises on that is to know how tables are made.

A task is drawn from one of four sorts: structural causal models (a random network of causes with noise at every node,
some of whose nodes are seen), sums of random trees, random smooth functions (Fourier features of a Gaussian process),
and sparse linear ones. Columns are then bent, rounded, or cut into categories, as those of real tables are, and some
say nothing. Sources: Müller et al., "Transformers can do Bayesian inference" (2022); Hollmann et al., "TabPFN" (2023);
Grinsztajn et al., "Why do tree-based models still outperform deep learning" (2022) for the trees.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]  # float32 but where said otherwise

MOST_CLASSES = 10
_SORTS = ("causal", "trees", "smooth", "linear")
_CHANCES = (0.35, 0.2, 0.15, 0.3)
_DEPTH = (1, 4)  # hidden layers of a causal model
_SPREAD = 0.6  # of tasks of many classes: they lie in a plane, not along a line
_ATTEMPTS = 20


@dataclass(frozen=True)
class SyntheticTask:
    """A table with its target."""

    X: Array  #: (rows, columns), each column with mean 0 and deviation 1
    y: Array  #: (rows,) int64 class indices, all of them seen; in regression mean 0 and deviation 1


_BENDS: tuple[Callable[[Array], Array], ...] = (
    np.tanh,
    lambda x: np.maximum(x, 0),
    lambda x: x,
    np.sin,
    np.abs,
    lambda x: np.sign(x) * np.sqrt(np.abs(x)),
    lambda x: np.exp(-(x**2)),
    lambda x: (x > 0).astype(np.float32),
    lambda x: np.clip(x, -2, 2) ** 2,
)


def sample_task(rng: np.random.Generator, rows: int, columns: int, classes: int) -> SyntheticTask:
    """One task.

    Args:
        rng: decides everything.
        rows: at least 2 a class.
        columns: at least 1.
        classes: 2 to MOST_CLASSES; 0: regression.
    """
    for _ in range(_ATTEMPTS):
        sort = _SORTS[int(rng.choice(len(_SORTS), p=_CHANCES))]
        count = 2 if classes > 2 and rng.random() < _SPREAD else 1
        if sort == "causal":
            X, signals = _causal(rng, rows, columns, count)
        else:
            X = _causes(rng, rows, columns)
            make = {"trees": _trees, "smooth": _smooth, "linear": _linear}[sort]
            signals = np.stack([make(rng, X) for _ in range(count)], axis=1)
        noise = _noise_level(rng) * rng.standard_normal(signals.shape).astype(np.float32)
        signals = _standard(signals + noise)
        y = _to_classes(rng, signals, classes) if classes else _bent_target(rng, signals[:, 0])
        if y is not None:
            return SyntheticTask(_seen(rng, X), y)
    return SyntheticTask(_seen(rng, X), _equal_shares(rng, signals[:, 0], classes))


# --- what makes a table


def _causes(rng: np.random.Generator, rows: int, columns: int) -> Array:
    """(rows, columns) that go together in some ways: a few factors behind them, normal, uniform or in clusters."""
    factors = int(rng.integers(1, columns + 1))
    mixed = _draws(rng, rows, factors) @ rng.standard_normal((factors, columns)).astype(np.float32)
    own = _draws(rng, rows, columns)
    share = rng.uniform(0, 1)
    return _standard(share * _standard(mixed) + (1 - share) * own)


def _draws(rng: np.random.Generator, rows: int, columns: int) -> Array:
    sort = rng.integers(4)
    if sort == 0:
        return rng.uniform(-1.7, 1.7, (rows, columns)).astype(np.float32)
    normal = rng.standard_normal((rows, columns)).astype(np.float32)
    if sort == 1:
        return normal
    if sort == 2:
        centres = 2 * rng.standard_normal((rng.integers(2, 6), columns)).astype(np.float32)
        return _standard(centres[rng.integers(len(centres), size=rows)] + rng.uniform(0.2, 1) * normal)
    return _standard(normal * np.exp(0.5 * rng.standard_normal((rows, 1)).astype(np.float32)))


def _causal(rng: np.random.Generator, rows: int, columns: int, targets: int) -> tuple[Array, Array]:
    """Nodes of a random network with noise: some are the columns, one is the target, or two (rows, targets)."""
    causes = _draws(rng, rows, int(rng.integers(1, max(2, min(columns, 12)) + 1)))
    width = int(rng.integers(max(4, columns // 2 + 1), columns + 12))
    layers = [causes]
    for _ in range(rng.integers(*_DEPTH, endpoint=True)):
        last = layers[-1]
        weights = rng.standard_normal((last.shape[1], width)).astype(np.float32)
        weights *= rng.random(weights.shape) < rng.uniform(0.2, 1.0)
        nodes = _standard(last @ weights)
        bend = _BENDS[int(rng.integers(len(_BENDS)))]
        shift = rng.standard_normal(width).astype(np.float32)
        noise = rng.uniform(0, 0.3) * rng.standard_normal(nodes.shape).astype(np.float32)
        layers.append(_standard(bend(nodes * rng.uniform(0.5, 2.0) + shift) + noise))
    nodes = np.concatenate(layers, axis=1)
    alive = np.flatnonzero(nodes.std(axis=0) > 1e-3)
    late = alive[-width:]  # they have the most causes
    target = rng.choice(late, targets, replace=len(late) < targets)
    others = np.setdiff1d(alive, target)
    if len(others) == 0:
        others = alive
    seen = rng.choice(others, columns, replace=len(others) < columns)
    return nodes[:, seen], nodes[:, target]


def _trees(rng: np.random.Generator, X: Array) -> Array:
    """A sum of random trees, all of whose nodes of one level ask the same."""
    useful = rng.choice(X.shape[1], int(rng.integers(1, X.shape[1] + 1)), replace=False)
    signal = np.zeros(len(X), dtype=np.float32)
    for _ in range(rng.integers(1, 12)):
        leaves = np.zeros(len(X), dtype=np.int64)
        for _ in range(rng.integers(1, 5)):
            column = X[:, rng.choice(useful)]
            leaves = 2 * leaves + (column > np.quantile(column, rng.uniform(0.1, 0.9)))
        signal += rng.standard_normal(leaves.max() + 1).astype(np.float32)[leaves]
    return _standard(signal)


def _smooth(rng: np.random.Generator, X: Array) -> Array:
    """Fourier features of a Gaussian process, a length scale a column."""
    scales = np.asarray(rng.gamma(1.0, 0.6, X.shape[1]), dtype=np.float32)
    frequencies = scales[:, None] * rng.standard_normal((X.shape[1], 48)).astype(np.float32)
    waves = np.cos(X @ frequencies + rng.uniform(0, 2 * np.pi, 48).astype(np.float32))
    return _standard(waves @ rng.standard_normal(48).astype(np.float32))


def _linear(rng: np.random.Generator, X: Array) -> Array:
    """Some columns count; often the product of two as well."""
    is_used = rng.random(X.shape[1]) < rng.uniform(0.2, 1.0)
    signal: Array = X @ np.where(is_used, rng.standard_normal(X.shape[1]), 0.0)
    if X.shape[1] > 1 and rng.random() < 0.5:
        one, other = rng.choice(X.shape[1], 2, replace=False)
        signal = signal + rng.standard_normal() * X[:, one] * X[:, other]
    return _standard(signal)


# --- what becomes of it


def _noise_level(rng: np.random.Generator) -> np.float32:
    return np.float32(rng.choice([0.0, 0.1, 0.3, 1.0], p=[0.35, 0.35, 0.2, 0.1]) * rng.uniform(0.5, 1.5))


def _seen(rng: np.random.Generator, X: Array) -> Array:
    """Columns as tables have them: bent, rounded, cut into categories without an order, or only noise."""
    X = X.copy()
    for place in range(X.shape[1]):
        sort = rng.random()
        column = X[:, place]
        if sort < 0.12:
            column = np.exp(np.clip(column * rng.uniform(0.3, 1.2), -8, 4))
        elif sort < 0.24:
            column = np.round(column * rng.uniform(0.7, 3))
        elif sort < 0.42:
            cuts = np.sort(rng.choice(column, int(rng.integers(1, 7))))
            column = rng.permutation(len(cuts) + 1)[np.searchsorted(cuts, column)]
        elif sort < 0.5:
            column = rng.standard_normal(len(column))
        X[:, place] = column
    return _standard(X)


def _to_classes(rng: np.random.Generator, signals: Array, classes: int) -> NDArray[np.int64] | None:
    """A line cut at random places, a plane by the nearest of some of its points; None if a class has one row.

    Args:
        rng: decides.
        signals: (rows, 1) or (rows, 2).
        classes: their order means nothing.
    """
    if signals.shape[1] == 1:
        shares = np.cumsum(rng.dirichlet(np.full(classes, rng.uniform(1, 8))))[:-1]
        levels = np.searchsorted(np.quantile(signals[:, 0], shares), signals[:, 0])
    else:
        centres = signals[rng.choice(len(signals), classes, replace=False)]
        levels = ((signals[:, None] - centres) ** 2).sum(axis=2).argmin(axis=1)
    labels = rng.permutation(classes)[levels]
    if rng.random() < 0.3:
        wrong = rng.random(len(labels)) < rng.uniform(0, 0.2)
        labels = np.where(wrong, rng.integers(classes, size=len(labels)), labels)
    return labels.astype(np.int64) if np.bincount(labels, minlength=classes).min() >= 2 else None


def _equal_shares(rng: np.random.Generator, signal: Array, classes: int) -> Array:
    """What always succeeds: as many rows of every class; values in the order of the signal."""
    places = np.argsort(np.argsort(signal, kind="stable"), kind="stable")
    if not classes:
        return _standard(places.astype(np.float32))
    return np.asarray(rng.permutation(classes)[places * classes // len(places)].astype(np.int64))


def _bent_target(rng: np.random.Generator, signal: Array) -> Array | None:
    bent = np.exp(signal * rng.uniform(0.2, 0.8)) if rng.random() < 0.2 else signal
    return _standard(bent) if bent.std() > 1e-3 else None


def _standard(values: Array) -> Array:
    """Mean 0 and deviation 1 along the rows; what does not vary is 0."""
    centred = values - values.mean(axis=0)
    deviation = centred.std(axis=0)
    return np.asarray(centred / np.where(deviation > 1e-6, deviation, 1.0), dtype=np.float32)
