"""`python -m app.predictions`: the predictor processes, until a signal. Apart from the CLI, which imports no engine."""

from __future__ import annotations

from app.logging import configure_logging
from app.predictions.predictor import run_predictor
from app.settings import get_settings

if __name__ == "__main__":
    settings = get_settings()
    configure_logging(settings)
    run_predictor(settings)
