"""Small networks that learn a table in a few steps from where practice has put them: an LSTM's, or a gradient's."""

from __future__ import annotations

from .reading import reading_learner, row_cost

LSTM_LEARNER = reading_learner("lstm_learner", lambda size: row_cost(size, 1e-4))
MAML = reading_learner("maml", lambda size: row_cost(size, 5e-5))
REPTILE = reading_learner("reptile", lambda size: row_cost(size, 5e-5))
