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
        lengths = np.array([(len(text), text.count(" ") + 1 if text else 0) for text in texts], dtype=np.float64)
        block = np.log1p(lengths.reshape(-1, 2))
        if self.terms:
            places = np.array([self._place(text) for text in texts]).reshape(-1, len(self.directions))
            block = np.concatenate([places, block], axis=1)
        return (block - self.centre) / self.scale

    def _place(self, text: str) -> Array:
        """A text's tf-idf on the directions, (d,): what scikit-learn computes, without its overhead for one row."""
        analyse, places, rows = self._lookup
        counts = Counter(places[term] for term in analyse(text[: ANALYSERS[self.analyser][1]]) if term in places)
        if not counts:
            return np.zeros(len(self.directions))
        found = np.fromiter(counts.keys(), dtype=np.intp, count=len(counts))
        weights = (1.0 + np.log(np.fromiter(counts.values(), dtype=np.float64, count=len(counts)))) * self.idf[found]
        return (weights @ rows[found]) / np.sqrt(weights @ weights)

    @cached_property
    def _lookup(self) -> tuple[Callable[[str], list[str]], dict[str, int], Array]:
        """Text -> terms, term -> place, and the directions by term."""
        analyse = make_vectoriser(self.analyser).build_analyzer()
        places = {term: place for place, term in enumerate(self.terms)}
        return analyse, places, np.ascontiguousarray(self.directions.T)


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
