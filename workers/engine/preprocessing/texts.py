"""Fits the blocks of free text, and of categories that are worded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.random import Generator

from ..bundle.runtime.schema import Field, Schema
from ..bundle.runtime.texts import TextPart, lengths, make_vectoriser, shared_terms
from .options import EncoderOptions

Array = np.ndarray[Any, Any]

_TERMS = {"word": 10_000, "char_wb": 5_000}
_FOLDS = 5  # of cross-fitting
_RIDGE = 1.0  # penalty, on rows of length one
_SAMPLE = 5_000  # texts that terms and directions are taken from
_SPELLED_SAMPLE, _SPELLED_DIMS = 3_000, 8


def fit_texts(
    options: EncoderOptions, schema: Schema, columns: Mapping[str, Array], targets: Array | None, rng: Generator
) -> list[tuple[TextPart, Array]]:
    """One block a text column, with the training rows' values in it, float64.

    `targets` (n, outputs) as for target encodings: each becomes a direction of its own, the one that predicts it.
    """
    return [
        _fit_text(options, field.name, columns[field.name], targets, rng)
        for field in schema.fields
        if field.kind == "text"
    ]


def _fit_text(
    options: EncoderOptions, name: str, texts: Array, targets: Array | None, rng: Generator
) -> tuple[TextPart, Array]:
    sample = texts
    if len(texts) > _SAMPLE:
        sample = texts[np.sort(rng.choice(len(texts), _SAMPLE, replace=False))]
    part = _directions(options, name, sample, options.text_dims, rng)
    if part.terms and targets is not None:
        part, block = _with_targets(part, texts, targets, rng.permutation(len(texts)) % _FOLDS)
    else:
        block = part.transform(texts)
    if options.is_scaled:
        centre, scale = block.mean(axis=0), block.std(axis=0)
        scale = np.where(scale > 1e-12, scale, 1.0)
        part = replace(part, centre=centre, scale=scale)
        block = (block - centre) / scale
    return part, block


def _with_targets(part: TextPart, texts: Array, targets: Array, folds: Array) -> tuple[TextPart, Array]:
    """The part with a direction more for each target, found by ridge regression; in the training rows' block these
    are cross-fitted, so that no row's own target leaks into its features."""
    matrix = part.tfidf(texts)
    weights = _ridge(matrix, targets)
    predicted = np.empty(targets.shape)
    for fold in range(int(folds.max(initial=0)) + 1):
        held = np.flatnonzero(folds == fold)
        rest = np.flatnonzero(folds != fold)
        predicted[held] = matrix[held] @ _ridge(matrix[rest], targets[rest]).T if len(rest) else 0.0
    width = part.width + len(weights)
    richer = replace(
        part,
        directions=np.concatenate([weights, part.directions]),
        centre=np.zeros(width),
        scale=np.ones(width),
    )
    return richer, np.concatenate([predicted, matrix @ part.directions.T, lengths(texts)], axis=1)


def _ridge(matrix: Any, targets: Array) -> Array:
    """(outputs, terms) of a ridge regression on sparse tf-idf; the mean is no concern of a direction."""
    from sklearn.linear_model import Ridge

    model = Ridge(alpha=_RIDGE, solver="sparse_cg", fit_intercept=False, tol=1e-3)
    return np.atleast_2d(model.fit(matrix, targets - targets.mean(axis=0)).coef_)


def _directions(options: EncoderOptions, name: str, sample: Array, dims: int, rng: Generator) -> TextPart:
    """A part with plain (unscaled) outputs; lengths only where there are too few terms for directions."""
    analyser = {"char": "char_wb", "word": "word"}.get(options.text)
    found = _tfidf(analyser, sample) if analyser else None
    dims = 0 if found is None else min(dims, len(found[0]) - 1, len(sample) - 1)
    if analyser is None or found is None or dims < 1:
        return _part(name, "word", (), np.empty(0), np.empty((0, 0)))
    from sklearn.utils.extmath import randomized_svd

    terms, idf, matrix = found
    seed = int(rng.integers(2**31))
    _, _, directions = randomized_svd(matrix, dims, n_iter=3, random_state=seed)
    return _part(name, analyser, terms, idf, directions)


def _part(name: str, analyser: str, terms: tuple[str, ...], idf: Array, directions: Array) -> TextPart:
    width = len(directions) + 2  # and two lengths
    return TextPart(name, analyser, terms, idf, directions, np.zeros(width), np.ones(width))


def _tfidf(analyser: str, sample: Array) -> tuple[tuple[str, ...], Array, Any] | None:
    """The most frequent terms on at least two texts, sorted, their idf, and the sample's sparse tf-idf; or None."""
    counted = shared_terms()
    vectoriser = make_vectoriser(analyser, min_df=2, max_features=_TERMS[analyser])
    vectoriser.set_params(analyzer=lambda text: counted.terms(analyser, text), ngram_range=(1, 1))
    try:
        matrix = vectoriser.fit_transform(sample)
    except ValueError:  # scikit-learn's word for "no term is left"
        return None
    return tuple(map(str, vectoriser.get_feature_names_out())), vectoriser.idf_, matrix


def spelling_table(options: EncoderOptions, field: Field, counts: Array) -> Array:
    """A table (len(vocabulary) + 2, d) of the spellings of a column's categories; unseen ones get the usual row.

    `counts` is by table row. Terms come from the categories seen most often in training.
    """
    texts = np.array(field.vocabulary, dtype=object)
    seen = np.argsort(-counts[1:-1], kind="stable")[: min(_SPELLED_SAMPLE, int(np.count_nonzero(counts[1:-1])))]
    rng = np.random.default_rng(len(seen))
    part = _directions(options, field.name, texts[np.sort(seen)], min(_SPELLED_DIMS, options.text_dims), rng)
    table = np.zeros((len(texts) + 2, part.width))
    table[1:-1] = part.transform(texts)
    table[-1] = np.average(table[1:-1], axis=0, weights=counts[1:-1])
    return table
