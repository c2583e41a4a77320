"""What is left out of the model once refits are there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from workers.engine.evaluation.calibration import Calibration
from workers.engine.evaluation.prepare import prepare
from workers.engine.evaluation.splits import make_splits
from workers.engine.selection import Chosen, Selection
from workers.engine.types import Limits, Proposal, TaskKind, Trial, TrialStatus

WEIGHTS = {0: 0.5, 1: 0.2, 2: 0.3}


def measured(number: int, megabytes: float, ms: float) -> Trial:
    proposal = Proposal(configuration={"learner": "linear"})
    status = TrialStatus.SUCCEEDED
    return Trial(
        number=number, proposal=proposal, status=status, megabytes=megabytes, predict_ms_per_row=ms, fold_losses=(0.1,)
    )


@pytest.fixture
def selection(make_problem: Callable[..., Any], tmp_path: Path) -> Any:
    problem = make_problem(TaskKind.BINARY)
    splits = make_splits(problem.task, problem.y)
    prepared = prepare(tmp_path / "task", problem.table, problem.y, None, problem.task, splits)
    store: Any = SimpleNamespace(prepared=prepared, trials={number: measured(number, 0.1, 0.1) for number in WEIGHTS})
    return Selection(store, True, Limits(predict_ms_per_row=1.0, megabytes=1.0))


@pytest.mark.parametrize(
    ("refits", "kept"),
    [
        ({}, {0, 1, 2}),
        ({0: (0.8, 0.1)}, {0, 1, 2}),
        ({0: (0.85, 0.1)}, {0, 2}),
        ({0: (0.1, 0.95)}, {0}),
        ({0: (9.0, 9.0), 1: (0.1, 0.1)}, {0}),
    ],
)
def test_the_lightest_go_until_what_was_measured_after_the_refits_keeps_the_limits(
    selection: Any, refits: dict[int, tuple[float, float]], kept: set[int]
) -> None:
    refitted = {number: measured(number, *used) for number, used in refits.items()}
    left = selection.cut(Chosen(WEIGHTS, 0.1, Calibration()), refitted).weights
    assert set(left) == kept
    assert sum(left.values()) == pytest.approx(1.0)
    assert left[0] == pytest.approx(0.5 / sum(WEIGHTS[number] for number in kept))
