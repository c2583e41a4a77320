"""A recurrent network as surrogate of the search."""

from __future__ import annotations

from .surrogates import NetworkSurrogate


class Rnn(NetworkSurrogate):
    """All it knows of this task is in its recurrent state: the filter's traits, and what a gated unit remembers."""

    name = "rnn"
    steps = 400
    state = 48
