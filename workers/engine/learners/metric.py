"""Networks of rows that practised on tens of thousands of tables what likeness means, and predict by it."""

from __future__ import annotations

from .reading import reading_learner, row_cost

SIAMESE = reading_learner("siamese", lambda size: row_cost(size, 4e-5, pair_s=3e-8))
MATCHING = reading_learner("matching", lambda size: row_cost(size, 4e-5, pair_s=3e-8))
