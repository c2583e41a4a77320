"""Forward passes of our networks in NumPy, float64: no torch is needed to predict.

N rows, C columns, K frequencies, D embedding width, H hidden width, O outputs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def load_network(configuration: Mapping[str, Any], tensors: Mapping[str, Array]) -> Callable[[Array], Array]:
    """The function (N, C) -> (N, O) probabilities, or (N,) values when `outputs` is 0."""
    weights = {name: tensor.astype(np.float64) for name, tensor in tensors.items()}
    blocks, outputs = int(configuration["blocks"]), int(configuration["outputs"])
    is_residual = configuration["form"] == "resnet"

    def predict(X: Array) -> Array:
        hidden = _embed(X.astype(np.float64), weights)
        hidden = _residual(hidden, weights, blocks) if is_residual else _plain(hidden, weights, blocks)
        logits = _linear(hidden, weights, "head")  # (N, O or 1)
        return _softmax(logits) if outputs else logits[:, 0]

    return predict


def _embed(X: Array, weights: Mapping[str, Array]) -> Array:
    """Periodic embeddings with one linear map shared by all columns (PLR-lite, Gorishniy et al. 2022), beside X."""
    if "frequencies" not in weights:
        return X
    angles = 2 * np.pi * X[:, :, None] * weights["frequencies"]  # (N, C, K)
    waves = np.concatenate([np.cos(angles), np.sin(angles)], axis=2)  # (N, C, 2K)
    embedded = np.maximum(_linear(waves, weights, "embed"), 0.0)  # (N, C, D)
    return np.concatenate([X, embedded.reshape(len(X), -1)], axis=1)  # (N, C + C*D)


def _plain(hidden: Array, weights: Mapping[str, Array], blocks: int) -> Array:
    for block in range(blocks):
        hidden = np.maximum(_linear(hidden, weights, f"block{block}"), 0.0)  # (N, H)
    return hidden


def _residual(hidden: Array, weights: Mapping[str, Array], blocks: int) -> Array:
    hidden = _linear(hidden, weights, "stem")  # (N, H)
    for block in range(blocks):
        inner = _normed(hidden, weights, f"block{block}.norm")
        inner = np.maximum(_linear(inner, weights, f"block{block}.first"), 0.0)
        hidden = hidden + _linear(inner, weights, f"block{block}.second")
    return np.maximum(_normed(hidden, weights, "norm"), 0.0)


def _linear(x: Array, weights: Mapping[str, Array], name: str) -> Array:
    return np.asarray(x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"])


def _normed(x: Array, weights: Mapping[str, Array], name: str) -> Array:
    centred = x - x.mean(axis=1, keepdims=True)
    scaled = centred / np.sqrt((centred**2).mean(axis=1, keepdims=True) + 1e-5)
    return np.asarray(scaled * weights[f"{name}.weight"] + weights[f"{name}.bias"])


def _softmax(logits: Array) -> Array:
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=1, keepdims=True))
