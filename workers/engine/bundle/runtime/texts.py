"""Free text as numbers: tf-idf of words or character n-grams on a few directions, and lengths."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

#: analyser -> (n-gram range, characters of a text that are read)
ANALYSERS = {"word": ((1, 1), 5000), "char_wb": ((3, 4), 300)}


@dataclass(frozen=True)
class TextPart:
    """The block of one text column: d directions of its tf-idf, then log(1 + characters) and log(1 + words)."""

    name: str
    analyser: str  #: one of ANALYSERS
    terms: tuple[str, ...]  #: in the order of `idf`; none: lengths only
    idf: Array  #: (terms,)
    directions: Array  #: (d, terms)
    centre: Array  #: (d + 2,)
    scale: Array  #: (d + 2,)

    @property
    def width(self) -> int:
        """Columns that `transform` yields."""
        return len(self.centre)

    def transform(self, texts: Array) -> Array:
        """The block, float64 (n, width)."""
        block = lengths(texts)
        if self.terms:
            places = np.array([self._place(text) for text in texts]).reshape(-1, len(self.directions))
            block = np.concatenate([places, block], axis=1)
        return (block - self.centre) / self.scale

    def tfidf(self, texts: Array) -> Any:
        """Sparse tf-idf (n, terms), rows of length one: what `transform` puts on the directions."""
        from scipy.sparse import csr_array

        found = [self._weights(text) for text in texts]
        ends = np.cumsum([0, *(len(places) for places, _ in found)])
        values = np.concatenate([np.empty(0), *(weights for _, weights in found)])
        places = np.concatenate([np.empty(0, dtype=np.intp), *(places for places, _ in found)])
        return csr_array((values, places, ends), shape=(len(texts), len(self.terms)))

    def _place(self, text: str) -> Array:
        """A text's tf-idf on the directions, (d,)."""
        found, weights = self._weights(text)
        return np.asarray(weights @ self._lookup[2][found])

    def _weights(self, text: str) -> tuple[Array, Array]:
        """Places of a text's terms and their tf-idf: what scikit-learn computes, without its overhead for one row."""
        analyse, places, _ = self._lookup
        counts = Counter(places[term] for term in analyse(text[: ANALYSERS[self.analyser][1]]) if term in places)
        found = np.fromiter(counts.keys(), dtype=np.intp, count=len(counts))
        weights = (1.0 + np.log(np.fromiter(counts.values(), dtype=np.float64, count=len(counts)))) * self.idf[found]
        return found, weights / np.sqrt(weights @ weights) if len(found) else weights

    @cached_property
    def _lookup(self) -> tuple[Callable[[str], list[str]], dict[str, int], Array]:
        """Text -> terms, term -> place, and the directions by term."""
        analyse = make_vectoriser(self.analyser).build_analyzer()
        places = {term: place for place, term in enumerate(self.terms)}
        return analyse, places, np.ascontiguousarray(self.directions.T)


def lengths(texts: Array) -> Array:
    """log(1 + characters) and log(1 + words), float64 (n, 2)."""
    counts = np.array([(len(text), text.count(" ") + 1 if text else 0) for text in texts], dtype=np.float64)
    return np.log1p(counts.reshape(-1, 2))


def make_vectoriser(analyser: str, **options: Any) -> Any:
    """scikit-learn's tf-idf with the settings that this format stands for."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    return TfidfVectorizer(
        analyzer=analyser,
        ngram_range=ANALYSERS[analyser][0],
        lowercase=True,
        strip_accents="unicode",
        sublinear_tf=True,
        **options,
    )
