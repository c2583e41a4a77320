"""Networks that read labelled rows one after the other, and remember: an RNN, and one with an external memory."""

from __future__ import annotations

from .reading import reading_learner, row_cost

RNN = reading_learner("rnn", lambda size: row_cost(size, 1e-4))
MANN = reading_learner("mann", lambda size: row_cost(size, 2e-4))
