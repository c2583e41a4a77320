"""Fits the blocks of free text, and of categories that are worded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..bundle.runtime.schema import Field, Schema
from ..bundle.runtime.texts import ANALYSERS, TextPart, make_vectoriser
from .options import EncoderOptions

Array = np.ndarray[Any, Any]

_TERMS = {"word": 10_000, "char_wb": 5_000}
_SAMPLE = 5_000  # texts that terms and directions are taken from
_SPELLED_SAMPLE, _SPELLED_DIMS = 3_000, 8


def fit_texts(
    options: EncoderOptions, schema: Schema, columns: Mapping[str, Array], rng: np.random.Generator
) -> list[tuple[TextPart, Array]]:
    """One block a text column, with the training rows' values in it, float64."""
    return [_fit_text(options, field.name, columns[field.name], rng) for field in schema.fields if field.kind == "text"]


def _fit_text(options: EncoderOptions, name: str, texts: Array, rng: np.random.Generator) -> tuple[TextPart, Array]:
    sample = texts
    if len(texts) > _SAMPLE:
        sample = texts[np.sort(rng.choice(len(texts), _SAMPLE, replace=False))]
    part = _directions(options, name, sample, options.text_dims, rng)
    block = part.transform(texts)
    if options.is_scaled:
        centre, scale = block.mean(axis=0), block.std(axis=0)
        scale = np.where(scale > 1e-12, scale, 1.0)
        part = TextPart(name, part.analyser, part.terms, part.idf, part.directions, centre, scale)
        block = (block - centre) / scale
    return part, block


def _directions(options: EncoderOptions, name: str, sample: Array, dims: int, rng: np.random.Generator) -> TextPart:
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
    width = len(directions) + 2
    return TextPart(name, analyser, terms, idf, directions, np.zeros(width), np.ones(width))


def _tfidf(analyser: str, sample: Array) -> tuple[tuple[str, ...], Array, Any] | None:
    """The most frequent terms on at least two texts, sorted, their idf, and the sample's sparse tf-idf; or None."""
    limit = ANALYSERS[analyser][1]
    vectoriser = make_vectoriser(analyser, min_df=2, max_features=_TERMS[analyser])
    try:
        matrix = vectoriser.fit_transform([text[:limit] for text in sample])
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
