"""Does every job make the next one better? Empty knowledge, then 31 jobs on related tasks through HTTP; a picture too.

    python -m benchmarks.growth                                     # clubs of a baseball table
    python -m benchmarks.growth --task trump_vote --by state        # states of a survey

A table of the corpus's train split is cut by one of its columns into 31 tasks of at most 400 rows, as a team has them:
one a club, one a shop. A shuffle is a fresh service without the package's past tasks, and the 31 jobs one after the
other in a random order, each knowing what the earlier ones contributed; beside it, the same 31 jobs with knowledge off.
Every job gets ten trials. Regret is what the best trial so far has over the best loss known of that task, by what
the task's median trial has over it. Runs are saved a shuffle at a time. Drawn is the mean regret by the number of jobs
before; printed that of the 31st job against the same job on empty knowledge, paired, 95 % intervals over shuffles.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from app.client import Client
from benchmarks.baselines import METRICS
from benchmarks.stack import running_stack
from workers.corpus import CorpusTask, as_csv, load, read_tasks

Array = NDArray[np.float64]

STEPS = (3, 5, 10)  # trials at which regret is told
_JOBS, _ROWS, _TRIALS = 31, 400, 10
_SHUFFLES = 10
_WINDOW = 5  # jobs over which the drawn curve is smoothed
_BOOTSTRAP = 2_000
_PATIENCE_S = 20.0


def main() -> None:
    """Run the shuffles that are missing, print, draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", default="baseball_rbi")
    parser.add_argument("--by", default="team", help="column that cuts the table")
    parser.add_argument("--shuffles", type=int, default=_SHUFFLES)
    parser.add_argument("--out", type=Path, default=Path("results/growth"))
    parser.add_argument("--picture", type=Path, default=Path("docs/growth.svg"))
    options = parser.parse_args()
    (task,) = read_tasks("train", [options.task])
    tables = cut(load(task), options.by)
    folder = options.out / f"{task.name}-{options.by}"
    folder.mkdir(parents=True, exist_ok=True)
    cold, *shuffles = [saved(folder, task, tables, shuffle) for shuffle in (None, *range(options.shuffles))]
    report(cold, shuffles)
    draw(cold, shuffles, options.picture, f"{task.name}, one task a {options.by}")
    print(f"wrote {options.picture}")


def cut(frame: pd.DataFrame, by: str) -> list[pd.DataFrame]:
    """The tables, largest values first; the column itself, now constant, is dropped."""
    values = frame[by].value_counts().index[:_JOBS]
    parts = [frame[frame[by] == value].drop(columns=by) for value in values]
    return [part.sample(min(len(part), _ROWS), random_state=0) for part in parts]


def saved(folder: Path, task: CorpusTask, tables: Sequence[pd.DataFrame], shuffle: int | None) -> list[dict[str, Any]]:
    """The jobs of a shuffle, or the cold ones, from the folder if they are there."""
    name = "cold" if shuffle is None else f"shuffle-{shuffle}"
    path = folder / f"{name}.json"
    if not path.exists():
        path.write_text(json.dumps(run(task, tables, shuffle, name)))
    jobs: list[dict[str, Any]] = json.loads(path.read_text())
    return jobs


def run(task: CorpusTask, tables: Sequence[pd.DataFrame], shuffle: int | None, name: str) -> list[dict[str, Any]]:
    """31 jobs on a fresh service: the table of each, and the losses of its trials. Without a shuffle they are cold."""
    order = range(len(tables)) if shuffle is None else np.random.default_rng(shuffle).permutation(len(tables)).tolist()
    knowledge = {"knowledge": "off", "contribute": "none"} if shuffle is None else {"knowledge": "own"}
    jobs: list[dict[str, Any]] = []
    with running_stack(WARMSTART_SEED_KNOWLEDGE="false") as stack:
        for place in order:
            losses = job(stack.client, task, tables[place], knowledge)
            jobs.append({"table": place, "losses": losses})
            if shuffle is not None:
                wait_for(stack.client, len(jobs))
            print(f"{name}: job {len(jobs)} of {len(tables)}, best {min(losses):.4g}", flush=True)
    return jobs


def job(client: Client, task: CorpusTask, table: pd.DataFrame, knowledge: dict[str, str]) -> list[float]:
    """Losses of its trials in order of asking; infinite where there is none.

    Raises:
        RuntimeError: the job failed.
    """
    spec = {
        "dataset_id": client.upload(as_csv(table), name=f"{task.name}.csv")["id"],
        "target": task.target,
        "kind": task.kind,
        "metric": METRICS[task.kind],
        "budget": {"trials": _TRIALS},
        "validation": {"scheme": "kfold", "folds": 3},
        "algorithms": {"exclude": ["network"]},  # it takes longer than all others together
        "ensemble": False,
        **knowledge,
    }
    ended = client.wait(client.create_job(spec)["id"])
    if ended["state"] != "succeeded":
        raise RuntimeError(f"{task.name}: {ended['state']}: {ended.get('error')}")
    trials = sorted(client.trials(ended["id"]), key=lambda trial: trial["number"])
    return [float("inf") if trial["loss"] is None else trial["loss"] for trial in trials]


def wait_for(client: Client, tasks: int) -> None:
    """Until what the job taught is in the store, which comes after its result.

    Raises:
        RuntimeError: it never came.
    """
    until = time.monotonic() + _PATIENCE_S
    while client.knowledge()["own"]["tasks"] < tasks:
        if time.monotonic() > until:
            raise RuntimeError(f"the store does not know {tasks} tasks")
        time.sleep(0.1)


def regrets(cold: list[dict[str, Any]], shuffles: list[list[dict[str, Any]]]) -> tuple[Array, Array]:
    """Of the warm jobs (shuffles, jobs, steps), and of the cold jobs on the same tables."""
    known: dict[int, list[float]] = {}
    for each in [*cold, *(one for shuffle in shuffles for one in shuffle)]:
        known.setdefault(each["table"], []).extend(loss for loss in each["losses"] if np.isfinite(loss))
    plain = {each["table"]: each["losses"] for each in cold}

    def of(table: int, losses: list[float]) -> list[float]:
        low = min(known[table])
        scale = max(float(np.median(known[table])) - low, 1e-12)
        return [(min(losses[:k]) - low) / scale for k in STEPS]

    warm = [[of(each["table"], each["losses"]) for each in shuffle] for shuffle in shuffles]
    before = [[of(each["table"], plain[each["table"]]) for each in shuffle] for shuffle in shuffles]
    return np.array(warm), np.array(before)


def report(cold: list[dict[str, Any]], shuffles: list[list[dict[str, Any]]]) -> None:
    """The 31st job, and thirds of the road to it."""
    warm, before = regrets(cold, shuffles)
    rng = np.random.default_rng(0)
    for place, step in enumerate(STEPS):
        saved = (before - warm)[:, -1, place]
        drawn = saved[rng.integers(len(saved), size=(_BOOTSTRAP, len(saved)))].mean(axis=1)
        low, high = np.quantile(drawn, [0.025, 0.975])
        print(
            f"after {step:>2} trials: the last job's regret {warm[:, -1, place].mean():.3f}, on empty knowledge"
            f" {before[:, -1, place].mean():.3f}, saved {saved.mean():.3f} [{low:.3f}, {high:.3f}]; by jobs before,"
            f" 0-10, 11-20, 21-30: "
            + ", ".join(f"{part.mean():.3f}" for part in np.array_split(warm[:, :, place], 3, axis=1))
            + f", all cold {before[:, :, place].mean():.3f}"
        )


def draw(cold: list[dict[str, Any]], shuffles: list[list[dict[str, Any]]], picture: Path, title: str) -> None:
    """Mean regret by jobs before, a panel a number of trials."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "growth"  # the same picture from the same figures
    from matplotlib import pyplot

    warm, before = regrets(cold, shuffles)
    figure, panels = pyplot.subplots(1, len(STEPS), figsize=(4.2 * len(STEPS), 3.4), squeeze=False)
    window = np.ones(_WINDOW) / _WINDOW
    middle = np.arange(warm.shape[1] - _WINDOW + 1) + _WINDOW // 2
    for place, (panel, step) in enumerate(zip(panels[0], STEPS, strict=True)):
        for shuffle in warm[:, :, place]:
            panel.plot(middle, np.convolve(shuffle, window, "valid"), color="tab:blue", alpha=0.15, lw=1)
        mean = np.convolve(warm[:, :, place].mean(axis=0), window, "valid")
        panel.plot(middle, mean, color="tab:blue", lw=2.5, label="knowing the jobs before")
        panel.axhline(before[:, :, place].mean(), color="tab:gray", ls="--", label="on empty knowledge")
        panel.set(title=f"after {step} trials", xlabel="jobs before", ylabel="regret", ylim=(0, None))
    panels[0][0].legend(fontsize=8)
    figure.suptitle(title)
    figure.tight_layout()
    picture.parent.mkdir(exist_ok=True)
    figure.savefig(picture, metadata={"Date": None})


if __name__ == "__main__":
    main()
