"""Warmstart against a random forest and CatBoost at defaults, on the bench split, through HTTP.

    python -m benchmarks.quality --seconds 30 --out results/quality.json

Each task: a 75/25 split (stratified in classification), the training rows posted to the service, one job of
`--seconds`, the model asked for the test rows; then the two rivals on the same split, one system at a time. What is
in the output file is not run again, so that a run can be resumed. Lower is better: 1 - AUC, log loss, RMSE.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from app.client import Client
from benchmarks import baselines
from benchmarks.made import as_rows
from benchmarks.stack import instant, running_stack
from workers.corpus import CorpusTask, as_csv, read_tasks, split

US = "warmstart"
RIVALS = {"random_forest": baselines.random_forest, "catboost": baselines.catboost}


def main() -> None:
    """Run what is missing, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--split", default="bench", choices=["bench", "train"])
    parser.add_argument("--tasks", nargs="*", help="only these")
    parser.add_argument("--out", type=Path, default=Path("results/quality.json"))
    options = parser.parse_args()
    options.out.parent.mkdir(parents=True, exist_ok=True)
    results: dict[str, Any] = json.loads(options.out.read_text()) if options.out.exists() else {}
    tasks = list(read_tasks(options.split, options.tasks))
    with running_stack() as stack:
        for task in tasks:
            done = results.setdefault(task.name, {})
            if {US, *RIVALS} <= set(done):
                continue
            for result in run(stack.client, task, options.seconds, options.seed, done):
                done |= result
                options.out.write_text(json.dumps(results, indent=1))
            print(line(task.name, results[task.name]), flush=True)
    report({task.name: results[task.name] for task in tasks})


def run(client: Client, task: CorpusTask, seconds: float, seed: int, done: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The systems that are not `done`, one after the other: {system: {"loss", "seconds"}}."""
    parts = split(task, seed)
    truth = parts.test[task.target].to_numpy()
    yield {"kind": task.kind, "rows": len(parts.train)}
    if US not in done:
        prediction, details = warmstart(client, task, parts.train, parts.test, seconds, seed, parts.classes)
        yield {US: {"loss": baselines.loss(task.kind, truth, prediction, parts.classes), **details}}
    for name, rival in RIVALS.items():
        if name not in done:
            started = time.monotonic()
            prediction = rival(task.kind, parts.train, task.target, parts.test)
            loss = baselines.loss(task.kind, truth, prediction, parts.classes)
            yield {name: {"loss": loss, "seconds": time.monotonic() - started}}


def warmstart(
    client: Client,
    task: CorpusTask,
    train: pd.DataFrame,
    test: pd.DataFrame,
    seconds: float,
    seed: int,
    classes: list[str],
    **more: Any,
) -> tuple[np.ndarray, dict[str, Any]]:
    """Predictions of the model that the service makes of the training rows, and what the job says of itself.

    `more` goes into the job spec. The search is cold, and leaves nothing, unless it says otherwise.
    """
    dataset = client.upload(as_csv(train), name=f"{task.name}.csv")
    spec = {
        "dataset_id": dataset["id"],
        "target": task.target,
        "kind": task.kind,
        "metric": baselines.METRICS[task.kind],
        "budget": {"seconds": seconds},
        "seed": seed,
        "knowledge": "off",
        "contribute": "none",
        **more,
    }
    if task.kind == "binary":
        spec["positive_class"] = classes[1]
    job = client.wait(client.create_job(spec)["id"])
    if job["state"] != "succeeded":
        raise RuntimeError(f"{task.name}: {job['state']}: {job.get('error')}")
    rows = as_rows(test.drop(columns=task.target))
    answers = [client.predict(job["model_id"], rows[i : i + 1000]) for i in range(0, len(rows), 1000)]
    details = {
        "seconds": (instant(job["finished_at"]) - instant(job["created_at"])).total_seconds(),
        "waited_s": (instant(job["started_at"]) - instant(job["created_at"])).total_seconds(),
        "model": job["model_id"],
        "score": client.model(job["model_id"])["score"],
        "trials": job["progress"].get("trials"),
    }
    if task.kind == "regression":
        return np.array([value for answer in answers for value in answer["predictions"]], float), details
    table = [[row[label] for label in classes] for answer in answers for row in answer["probabilities"]]
    return np.array(table, float), details


def line(name: str, result: dict[str, Any]) -> str:
    """One task as a line of the table."""
    systems = (US, *RIVALS)
    best = min(systems, key=lambda system: result[system]["loss"])
    cells = "".join(
        f"{result[system]['loss']:>13.5g}{'*' if system == best else ' '}({result[system]['seconds']:4.0f} s)"
        for system in systems
    )
    return f"{name:<24}{result['kind'][:5]:<7}{result['rows']:>7}{cells}"


def report(results: dict[str, Any]) -> None:
    """The table, and on how many tasks Warmstart has the lower loss."""
    print(f"{'task':<24}{'kind':<7}{'rows':>7}" + "".join(f"{name:>21}" for name in (US, *RIVALS)))
    for name, result in results.items():
        print(line(name, result))
    for rival in RIVALS:
        wins = sum(result[US]["loss"] < result[rival]["loss"] for result in results.values())
        print(f"better than {rival} on {wins} of {len(results)}")


if __name__ == "__main__":
    main()
