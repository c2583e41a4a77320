"""Free text as numbers: tf-idf of words or character n-grams on a few directions, and lengths."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

#: analyser -> (n-gram range, characters of a text that are read)
ANALYSERS = {"word": ((1, 2), 5000), "char_wb": ((2, 4), 1000)}


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
        lengths = np.array([(len(text), text.count(" ") + 1 if text else 0) for text in texts], dtype=np.float64)
        block = np.log1p(lengths.reshape(-1, 2))
        if self.terms:
            block = np.concatenate([self.tfidf(texts) @ self.directions.T, block], axis=1)
        return (block - self.centre) / self.scale

    def tfidf(self, texts: Array) -> Any:
        """Sparse (n, terms), rows of length 1."""
        limit = ANALYSERS[self.analyser][1]
        return self._vectoriser.transform([text[:limit] for text in texts])

    @cached_property
    def _vectoriser(self) -> Any:
        vectoriser = make_vectoriser(self.analyser, vocabulary={term: place for place, term in enumerate(self.terms)})
        vectoriser.idf_ = self.idf
        return vectoriser


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
