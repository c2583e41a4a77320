"""Free text as numbers: tf-idf of words or character n-grams on a few directions, and lengths."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

#: analyser -> (n-gram range, characters of a text that are read)
ANALYSERS = {"word": ((1, 1), 5000), "char_wb": ((3, 4), 300)}


class CountedTerms:
    """The terms of texts, each with its number in a vocabulary of all terms seen, and how often it occurs."""

    def __init__(self) -> None:
        self._numbers: dict[str, dict[str, int]] = {}  #: by analyser and term
        self._names: dict[str, list[str]] = {}  #: the same by number
        self._found: dict[tuple[str, str], tuple[Array, Array]] = {}  #: by analyser and text
        self._room = _MOST_SHARED

    def of(self, analyser: str, text: str) -> tuple[Array, Array]:
        """(numbers, counts) of a text's terms, int32, in order of appearance."""
        key = analyser, text[: ANALYSERS[analyser][1]]
        found = self._found.get(key)
        if found is None:
            counts = Counter(_analysis(analyser)(key[1]))
            known = self._numbers.setdefault(analyser, {})
            names = self._names.setdefault(analyser, [])
            for term in counts:
                if term not in known:
                    known[term] = len(names)
                    names.append(term)
            numbers = [known[term] for term in counts]
            found = np.array(numbers, dtype=np.int32), np.array(list(counts.values()), dtype=np.int32)
            if self._room >= len(numbers):
                self._room -= len(numbers)
                self._found[key] = found
        return found

    def terms(self, analyser: str, text: str) -> list[str]:
        """The terms themselves, each as often as it occurs."""
        numbers, counts = self.of(analyser, text)
        names = self._names[analyser]
        return [names[number] for number in np.repeat(numbers, counts)]

    def places(self, analyser: str, terms: tuple[str, ...]) -> Array:
        """By number, the place among `terms`; -1 of other terms."""
        known = self._numbers.setdefault(analyser, {})
        numbers = [known.get(term, -1) for term in terms]
        places = np.full(len(known) + 1, -1, dtype=np.intp)
        places[numbers] = np.arange(len(terms))
        places[-1] = -1
        return places


_MOST_SHARED = 10_000_000  # terms of texts that are kept: 80 MB
_shared: ContextVar[CountedTerms | None] = ContextVar("shared", default=None)


@contextmanager
def sharing_terms() -> Iterator[None]:
    """Until it ends, a text that comes again (in another fold, or to another member) is not analysed again."""
    token = _shared.set(CountedTerms())
    try:
        yield
    finally:
        _shared.reset(token)


def shared_terms() -> CountedTerms:
    """Those of the `sharing_terms` that this runs in; else fresh ones."""
    return _shared.get() or CountedTerms()


@cache
def _analysis(analyser: str) -> Callable[[str], list[str]]:
    analyse: Callable[[str], list[str]] = make_vectoriser(analyser).build_analyzer()
    return analyse


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
            places = self.tfidf(texts) @ self._lookup[2] if _shared.get() is not None else self._places(texts)
            block = np.concatenate([places, block], axis=1)
        return (block - self.centre) / self.scale

    def tfidf(self, texts: Array) -> Any:
        """Sparse tf-idf (n, terms), rows of length one: what scikit-learn computes, without analysing a text again
        that somebody has analysed within `sharing_terms`."""
        from scipy.sparse import csr_array

        counted = shared_terms()
        rows = [counted.of(self.analyser, text) for text in texts]
        place_of = counted.places(self.analyser, self.terms)
        row = np.repeat(np.arange(len(rows)), [len(numbers) for numbers, _ in rows])
        numbers = np.concatenate([np.empty(0, dtype=np.int32), *(part for part, _ in rows)])
        counts = np.concatenate([np.empty(0, dtype=np.int32), *(part for _, part in rows)])
        found = place_of[numbers]
        known = found >= 0
        row, found = row[known], found[known]
        values = (1.0 + np.log(counts[known])) * self.idf[found]
        norms = np.sqrt(np.bincount(row, weights=values**2, minlength=len(rows)))
        ends = np.r_[0, np.cumsum(np.bincount(row, minlength=len(rows)))]
        return csr_array((values / norms[row], found, ends), shape=(len(texts), len(self.terms)))

    def _places(self, texts: Array) -> Array:
        """Texts on the directions, (n, d), one by one."""
        return np.array([self._place(text) for text in texts]).reshape(-1, len(self.directions))

    def _place(self, text: str) -> Array:
        """A text's tf-idf on the directions, (d,)."""
        found, weights = self._weights(text)
        return np.asarray(weights @ self._lookup[2][found])

    def _weights(self, text: str) -> tuple[Array, Array]:
        """Places of a text's terms and their tf-idf, without overhead for one row."""
        analyse, places, _ = self._lookup
        counts = Counter(places[term] for term in analyse(text[: ANALYSERS[self.analyser][1]]) if term in places)
        found = np.fromiter(counts.keys(), dtype=np.intp, count=len(counts))
        weights = (1.0 + np.log(np.fromiter(counts.values(), dtype=np.float64, count=len(counts)))) * self.idf[found]
        return found, weights / np.sqrt(weights @ weights) if len(found) else weights

    @cached_property
    def _lookup(self) -> tuple[Callable[[str], list[str]], dict[str, int], Array]:
        """Text -> terms, term -> place, and the directions by term."""
        places = {term: place for place, term in enumerate(self.terms)}
        return _analysis(self.analyser), places, np.ascontiguousarray(self.directions.T)


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
