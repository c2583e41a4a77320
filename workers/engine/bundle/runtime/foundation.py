"""Official foundation models in a bundle: they read labelled rows, as our readers do.

A bundle keeps these rows and says which weights it was made with; whoever predicts needs the same (`installed.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from importlib.util import find_spec
from threading import Lock
from typing import Any

import numpy as np

from .errors import BundleProblem
from .installed import FOLDER, PACKAGES, digest, sort_of, weights

Array = np.ndarray[Any, Any]

#: package -> arguments that keep it from the network, given the threads that it may take
_OFFLINE: Mapping[str, Mapping[str, Any]] = {
    "tabicl": {"allow_auto_download": False},
    "tabpfn": {"ignore_pretraining_limits": True},  # it asks for nothing where the file of weights is there
}


class Foundation:
    """A foundation model that has been shown labelled rows; it reads them when the first question comes.

    Args:
        configuration: "package", "classes" (0: values), "digest" of the weights, "views", "seed", and "absolute": the
            median is asked for, not the mean.
        X: (S, C) of the labelled rows.
        y: (S,) class indices 0..K-1, or values with mean 0 and deviation 1.
        threads: that it may take.

    Raises:
        BundleProblem: the package, or these weights, are not there.
    """

    def __init__(self, configuration: Mapping[str, Any], X: Array, y: Array, threads: int = 1) -> None:
        package, self._classes = str(configuration["package"]), int(configuration["classes"])
        if package not in PACKAGES:
            raise BundleProblem(f"an unknown foundation model: {package}")
        sort = sort_of(self._classes)
        path = weights(package, sort)
        if path is None or digest(path) != configuration["digest"] or find_spec(package) is None:
            raise BundleProblem(
                f"it needs the package {package}, and the weights of its {sort} with the SHA-256 "
                f"{configuration['digest']} in the folder that {FOLDER} names"
            )
        self._options = {
            "n_estimators": int(configuration["views"]),
            "model_path": path,
            "device": "cpu",
            "random_state": int(configuration["seed"]),
            **_OFFLINE[package],
        }
        self._package, self._name = package, PACKAGES[package][sort]
        self._output = "median" if configuration["absolute"] else "mean"
        self._X, self._y, self._threads = X, y, threads
        self._lock = Lock()
        self._estimator: Any = None

    def predict(self, X: Array) -> Array:
        """(N, K) probabilities, or (N,) values."""
        import torch

        with self._lock:  # what it keeps is not made for two at once
            torch.set_num_threads(self._threads)
            if self._estimator is None:
                self._estimator = getattr(import_module(self._package), self._name)(**self._options)
                self._estimator.fit(self._X, self._y)
            if self._classes:
                return np.asarray(self._estimator.predict_proba(X), dtype=np.float64)
            return np.asarray(self._estimator.predict(X, output_type=self._output), dtype=np.float64)


def load_foundation(configuration: Mapping[str, Any], tensors: Mapping[str, Array]) -> Foundation:
    """Of a bundle: its configuration, and its labelled rows "X" and "y"."""
    return Foundation(configuration, np.asarray(tensors["X"]), np.asarray(tensors["y"]))
