"""Forests as plain arrays, predicted by scikit-learn's own trees: without its overhead, and loaded in milliseconds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from .errors import BundleProblem

Array = np.ndarray[Any, Any]


def load_forest(arrays: Mapping[str, Array]) -> Callable[[Array], Array]:
    """A function from X, float32 (n, columns), to the mean over trees: probabilities (n, classes), or values (n,).

    Raises:
        BundleProblem: the arrays are no forest. Tree code trusts its indices, so they are checked here.
    """
    from sklearn.tree._tree import Tree

    sizes = arrays["sizes"].astype(np.int64)
    _check(arrays, sizes)
    outputs = arrays["leaves"].shape[1]
    values = np.zeros((int(sizes.sum()), 1, outputs))
    values[arrays["left"] < 0, 0, :] = arrays["leaves"]
    width, trees, start = int(arrays["features"]), [], 0
    for size, depth in zip(sizes, arrays["depths"], strict=True):
        part = slice(start, start + int(size))
        tree = Tree(width, np.array([outputs], dtype=np.intp), 1)
        tree.__setstate__(
            {
                "max_depth": int(depth),
                "node_count": int(size),
                "nodes": _nodes(arrays, part, tree),
                "values": np.ascontiguousarray(values[part]),
            }
        )
        trees.append(tree)
        start = part.stop

    def predict(X: Array) -> Array:
        X = np.ascontiguousarray(X, dtype=np.float32)
        total = np.zeros((len(X), outputs))
        for tree in trees:
            total += tree.predict(X).reshape(len(X), outputs)
        total /= len(trees)
        return total

    return predict


def _nodes(arrays: Mapping[str, Array], part: slice, tree: Any) -> Array:
    nodes = np.zeros(part.stop - part.start, dtype=tree.__getstate__()["nodes"].dtype)
    nodes["left_child"] = arrays["left"][part]
    nodes["right_child"] = arrays["right"][part]
    nodes["feature"] = arrays["feature"][part]
    nodes["threshold"] = arrays["threshold"][part]
    nodes["missing_go_to_left"] = arrays["missing_go_to_left"][part]
    nodes["n_node_samples"] = 1
    nodes["weighted_n_node_samples"] = 1.0
    return nodes


def _check(arrays: Mapping[str, Array], sizes: Array) -> None:
    """Children come after their parent and within its tree, so that every walk ends; features exist."""
    total = int(sizes.sum())
    left, right, feature = arrays["left"], arrays["right"], arrays["feature"]
    leaf = left < 0
    place = np.arange(total) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    size = np.repeat(sizes, sizes)
    inner = (left > place) & (right > place) & (left < size) & (right < size)
    fits = (feature >= 0) & (feature < int(arrays["features"]))
    names = ("left", "right", "feature", "threshold", "missing_go_to_left")
    if (
        len(sizes) == 0
        or sizes.min() < 1
        or any(len(arrays[name]) != total for name in names)
        or len(arrays["leaves"]) != int(leaf.sum())
        or not (leaf | (inner & fits)).all()
    ):
        raise BundleProblem("the forest's arrays do not fit each other")
