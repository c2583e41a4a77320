"""Trial processes: whatever a learner does costs one trial."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from workers.engine.catalog import LEARNERS
from workers.engine.evaluation.pool import Finished, TrialPool, _template_pid, warm_up
from workers.engine.evaluation.prepare import PreparedTask, prepare
from workers.engine.evaluation.splits import make_splits
from workers.engine.space import Space
from workers.engine.types import Fidelity, Proposal, TaskKind, TrialStatus

HERE = Path(__file__).parent
DUMMY = Proposal(configuration={"learner": "dummy"})


@pytest.fixture(scope="module", autouse=True)
def _importable() -> Iterator[None]:
    """The template must be able to import the hostile module: its path is set before it starts."""
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = str(HERE)
    sys.path.insert(0, str(HERE))
    warm_up()
    yield
    sys.path.remove(str(HERE))
    if before is None:
        del os.environ["PYTHONPATH"]
    else:
        os.environ["PYTHONPATH"] = before


@pytest.fixture
def prepared(make_problem: Callable[..., Any], tmp_path: Path) -> PreparedTask:
    problem = make_problem(TaskKind.BINARY, 200)
    splits = make_splits(problem.task, problem.y)
    return prepare(tmp_path / "task", problem.table, problem.y, None, problem.task, splits)


@pytest.fixture
def pool(prepared: PreparedTask, tmp_path: Path) -> Iterator[TrialPool]:
    opened = TrialPool(prepared, tmp_path / "scratch", workers=2)
    yield opened
    opened.close()


def run(pool: TrialPool, proposal: Proposal, *, seconds: float | None = 20, memory_mb: int = 2000) -> Finished:
    pool.submit(0, proposal, seconds=seconds, memory_mb=memory_mb)
    until = time.monotonic() + 60
    while time.monotonic() < until:
        if finished := pool.wait(1):
            return finished[0]
    raise AssertionError("the trial did not end")


@pytest.mark.parametrize(
    ("deed", "status", "reason"),
    [
        ("EAT_MEMORY", TrialStatus.OUT_OF_MEMORY, "limit is 400 MB"),
        ("SEGFAULT", TrialStatus.CRASHED, "signal 11"),
        ("FORK_WILDLY", TrialStatus.CRASHED, "processes"),
        ("LOOP_FOR_EVER", TrialStatus.TIMED_OUT, "longer than 1.0 s"),
        ("EXIT_AT_ONCE", TrialStatus.CRASHED, "exit code 0"),
        ("BREAK_PIPES", TrialStatus.FAILED, "closed everything"),
        ("RAISE", TrialStatus.FAILED, "can't be fitted"),
        ("FORGE_A_REPORT", TrialStatus.CRASHED, "no result"),
    ],
)
def test_a_hostile_learner_costs_one_trial(
    deed: str, status: TrialStatus, reason: str, pool: TrialPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(LEARNERS, "hostile", f"/hostile:{deed}")
    seconds = 1.0 if deed == "LOOP_FOR_EVER" else 20.0
    ended = run(pool, Proposal(configuration={"learner": "hostile"}), seconds=seconds, memory_mb=400)
    assert ended.trial.status is status
    assert reason in str(ended.trial.reason)
    assert ended.trial.loss is None
    assert run(pool, DUMMY).trial.status is TrialStatus.SUCCEEDED
    assert not processes_that_mention(str(pool.scratch))


def processes_that_mention(text: str) -> list[int]:
    """Processes whose working folder lies under this path: trials run in theirs."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if str((entry / "cwd").readlink()).startswith(text):
                    found.append(int(entry.name))
            except OSError:
                continue
    return found


def test_a_trial_leaves_predictions_and_fold_models(pool: TrialPool) -> None:
    configuration = Space(["linear"], TaskKind.BINARY).defaults()[0]
    ended = run(pool, Proposal(configuration=configuration))
    assert ended.trial.status is TrialStatus.SUCCEEDED
    assert ended.trial.loss is not None
    assert ended.trial.loss < 0.1
    assert ended.trial.metrics["roc_auc"] == pytest.approx(1 - ended.trial.loss)
    assert (ended.folder / "oof.npy").exists()
    assert len(list(ended.folder.glob("fold_*"))) == 10


def test_fidelity_does_less(pool: TrialPool) -> None:
    ended = run(pool, Proposal(configuration=DUMMY.configuration, fidelity=Fidelity(folds=2, rows=0.5)))
    assert len(ended.trial.fold_losses) == 2


def test_when_time_runs_out_the_folds_done_are_the_result(pool: TrialPool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(LEARNERS, "hostile", "/hostile:STALL")
    ended = run(pool, Proposal(configuration={"learner": "hostile"}), seconds=3)
    assert (ended.trial.status, ended.trial.timed) == (TrialStatus.STOPPED, True)
    assert ended.trial.reason == "time for 2 of 10 folds"
    assert len(ended.trial.fold_losses) == 2
    assert len(list(ended.folder.glob("fold_*"))) == 2
    assert (ended.folder / "oof.npy").exists()


def test_when_all_are_stopped_the_folds_done_are_results(pool: TrialPool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(LEARNERS, "hostile", "/hostile:STALL")
    monkeypatch.setitem(LEARNERS, "endless", "/hostile:LOOP_FOR_EVER")
    pool.submit(0, Proposal(configuration={"learner": "hostile"}), seconds=60, memory_mb=2000)
    until = time.monotonic() + 30
    while (
        not (pool.scratch / "trial_0" / "oof_2.npy").exists() or not (pool.scratch / "trial_0/progress.json").exists()
    ):
        assert time.monotonic() < until
        time.sleep(0.05)
    pool.submit(1, Proposal(configuration={"learner": "endless"}), seconds=60, memory_mb=2000)
    one, other = pool.stop_all("the end")
    assert (one.trial.number, one.trial.status, len(one.trial.fold_losses)) == (0, TrialStatus.STOPPED, 2)
    assert (other.trial.status, other.trial.reason, other.trial.timed) == (TrialStatus.TIMED_OUT, "the end", True)
    assert not pool.running
    assert not processes_that_mention(str(pool.scratch))


def test_what_a_trial_leaves_behind_ends_with_it(pool: TrialPool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(LEARNERS, "hostile", "/hostile:LEAVE_DAEMONS")
    ended = run(pool, Proposal(configuration={"learner": "hostile"}, fidelity=Fidelity(folds=2)))
    assert ended.trial.status is TrialStatus.SUCCEEDED
    assert not processes_that_mention(str(pool.scratch))


def test_trials_go_on_when_their_template_was_killed(pool: TrialPool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(LEARNERS, "hostile", "/hostile:LOOP_FOR_EVER")
    pool.submit(0, Proposal(configuration={"learner": "hostile"}), seconds=60, memory_mb=2000)
    os.kill(_template_pid(), signal.SIGKILL)
    (ended,) = pool.wait(20)
    assert ended.trial.status is TrialStatus.CRASHED
    assert run(pool, DUMMY, seconds=60).trial.status is TrialStatus.SUCCEEDED


def test_kill_all_leaves_nothing_running(pool: TrialPool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(LEARNERS, "hostile", "/hostile:LEAVE_DAEMONS_AND_LOOP")
    for number in range(2):
        pool.submit(number, Proposal(configuration={"learner": "hostile"}), seconds=60, memory_mb=2000)
    assert wait_for_processes(str(pool.scratch), at_least=6)
    pool.kill_all()
    assert not pool.running
    assert not processes_that_mention(str(pool.scratch))


def wait_for_processes(folder: str, at_least: int = 0, seconds: float = 15) -> bool:
    """Whether there come to be so many; with 0, whether all end."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        count = len(processes_that_mention(folder))
        if count >= at_least if at_least else not count:
            return True
        time.sleep(0.05)
    return False


def test_trials_in_a_row_start_without_a_deadlock(pool: TrialPool) -> None:
    """500 at full size; every one is a process of its own."""
    total = 500 if os.environ.get("WARMSTART_CHAOS") == "full" else 60
    done, number = 0, 0
    until = time.monotonic() + total
    while done < total and time.monotonic() < until:
        while pool.has_room and number < total:
            pool.submit(number, DUMMY, seconds=20, memory_mb=2000)
            number += 1
        done += len(pool.wait(5))
    assert done == total


def test_nothing_outlives_a_killed_parent(prepared: PreparedTask, tmp_path: Path) -> None:
    """kill -9 of the process that owns the pool ends template and trials too, and what has fled from their sessions."""
    code = f"""
import time
from pathlib import Path
from workers.engine.catalog import LEARNERS
from workers.engine.evaluation.pool import TrialPool
from workers.engine.evaluation.prepare import open_prepared
from workers.engine.types import Proposal
if __name__ == "__main__":
    LEARNERS["hostile"] = "/hostile:LEAVE_DAEMONS_AND_LOOP"
    pool = TrialPool(open_prepared(Path({str(prepared.folder)!r})), Path({str(tmp_path / "orphans")!r}), workers=2)
    for number in range(2):
        pool.submit(number, Proposal(configuration={{"learner": "hostile"}}), seconds=None, memory_mb=2000)
    print("running", flush=True)
    time.sleep(60)
"""
    script = tmp_path / "owner.py"
    script.write_text(code)
    owner = subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, start_new_session=True)
    assert owner.stdout is not None
    assert owner.stdout.readline() == b"running\n"
    assert wait_for_processes(str(tmp_path / "orphans"), at_least=6)
    owner.send_signal(signal.SIGKILL)
    owner.wait()
    owner.stdout.close()
    assert wait_for_processes(str(tmp_path / "orphans"), seconds=5)
