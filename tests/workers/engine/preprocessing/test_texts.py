"""Texts that come again are not analysed again, and nothing else changes by that."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest

from workers.engine.bundle.runtime import texts as runtime
from workers.engine.bundle.runtime.schema import Field, Schema
from workers.engine.bundle.runtime.texts import sharing_terms
from workers.engine.preprocessing.fit import fit_encoder
from workers.engine.types import TaskKind

SCHEMA = Schema((Field("note", "text"),))
WORDS = ("tea", "coffee", "Café", "the", "no", "likes", "strong")


def make(n: int = 150) -> tuple[dict[str, Any], Any]:
    rng = np.random.default_rng(0)
    notes = [" ".join(rng.choice(WORDS, rng.integers(0, 6))) for _ in range(n)]
    y = np.array(["tea" in note for note in notes], dtype=np.int64)
    return {"note": np.array(notes, dtype=object)}, y


def encode(kind: str) -> tuple[Any, Any, Any]:
    """(training matrix, matrix of the same rows, matrix of the first row alone)."""
    columns, y = make()
    options = {"prep_text": kind, "prep_text_dims": 4, "prep_scale": "standard"}
    encoder, X = fit_encoder(options, SCHEMA, columns, y, TaskKind.BINARY, 2, 0)
    return X, encoder.transform(columns), encoder.transform({"note": columns["note"][:1]})


@pytest.mark.parametrize("kind", ["word", "char"])
def test_sharing_changes_nothing(kind: str) -> None:
    alone = encode(kind)
    with sharing_terms():
        shared = encode(kind)
    for one, other in zip(alone, shared, strict=True):
        assert one == pytest.approx(other, abs=1e-5)
    assert shared[2] == pytest.approx(shared[1][:1], abs=1e-6)


def test_each_text_is_analysed_once_while_terms_are_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: Counter[str] = Counter()
    analyse = runtime._analysis("word")

    def counting(text: str) -> list[str]:
        asked[text] += 1
        return analyse(text)

    monkeypatch.setattr(runtime, "_analysis", lambda analyser: counting)
    with sharing_terms():
        encode("word")
        encode("word")
    assert set(asked) == set(make()[0]["note"])
    assert max(asked.values()) == 1
    encode("word")
    assert max(asked.values()) > 1
