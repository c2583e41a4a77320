"""Fits an encoder: what makes any table numeric."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..bundle.runtime.encoder import Encoder
from ..bundle.runtime.schema import Columns, Schema
from ..types import TaskKind
from .categories import fit_categories, target_outputs
from .derived import fit_derived
from .numbers import fit_numbers
from .options import EncoderOptions
from .texts import fit_texts

Array = np.ndarray[Any, Any]


def fit_encoder(
    options: Mapping[str, Any], schema: Schema, columns: Columns, y: Array, kind: TaskKind, n_classes: int, seed: int
) -> tuple[Encoder, Array]:
    """An encoder as the "prep_*" keys of `options` say, and the training matrix, float32 (n, columns).

    The matrix is not `encoder.transform(columns)`: target encodings in it are cross-fitted, so that no row's own
    target leaks into its features. Finite, unless "prep_impute" is "native".
    """
    read = EncoderOptions.read(options)
    rng = np.random.default_rng(seed)
    numbers = fit_numbers(read, schema, columns, rng)
    n_classes = 0 if kind == TaskKind.REGRESSION else n_classes
    targets = target_outputs(y, n_classes)
    categories = fit_categories(read, schema, columns, targets, rng)
    texts = fit_texts(read, schema, columns, targets, rng)
    start = 0 if numbers is None else numbers[0].width
    blocks = [block[1] for block in (numbers, categories, *texts) if block is not None]
    X = _joined(blocks, len(y))
    derived = fit_derived(read, X, y, n_classes, seed)
    encoder = Encoder(
        None if numbers is None else numbers[0],
        None if categories is None else categories[0],
        tuple(part for part, _ in texts),
        () if categories is None else tuple(start + place for place in categories[2]),
        derived,
    )
    return encoder, X if derived is None else derived.transform(X)


def _joined(blocks: list[Array], n: int) -> Array:
    out = np.empty((n, sum(block.shape[1] for block in blocks)), dtype=np.float32)
    start = 0
    for block in blocks:
        out[:, start : start + block.shape[1]] = block
        start += block.shape[1]
    return out
