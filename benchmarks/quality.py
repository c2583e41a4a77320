"""Warmstart against a random forest and CatBoost at defaults, on the bench split, through HTTP.

    python -m benchmarks.quality --seconds 30 --out results/quality.json

Each task: a 75/25 split (stratified in classification), the training rows posted to the service, one job of
`--seconds`, the model asked for the test rows; then the two rivals on the same split, one system at a time. A task
that is in the output file is not run again, so that a run can be resumed. Lower is better: 1 - AUC, log loss, RMSE.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from app.client import Client
from benchmarks import baselines
from benchmarks.corpus import CorpusTask, read_tasks, split
from benchmarks.stack import instant, running_stack
from benchmarks.tables import as_rows

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
    tasks = [t for t in read_tasks(options.split) if not options.tasks or t.name in options.tasks]
    with running_stack() as stack:
        for task in tasks:
            if task.name in results:
                continue
            results[task.name] = run(stack.client, task, options.seconds, options.seed)
            options.out.write_text(json.dumps(results, indent=1))
            print(line(task.name, results[task.name]), flush=True)
    report({task.name: results[task.name] for task in tasks})


def run(client: Client, task: CorpusTask, seconds: float, seed: int) -> dict[str, Any]:
    """All systems on one task, one after the other: {system: {"loss", "seconds"}}."""
    parts = split(task, seed)
    train, test, classes = parts.train, parts.test, parts.classes
    truth = test[task.target].to_numpy()
    result: dict[str, Any] = {"kind": task.kind, "rows": len(train)}
    prediction, details = warmstart(client, task, train, test, seconds, seed, classes)
    result["warmstart"] = {
        "loss": baselines.loss(task.kind, truth, prediction, classes),
        **details,
    }
    for name, rival in RIVALS.items():
        started = time.monotonic()
        prediction = rival(task.kind, train, task.target, test)
        result[name] = {
            "loss": baselines.loss(task.kind, truth, prediction, classes),
            "seconds": time.monotonic() - started,
        }
    return result


def warmstart(
    client: Client,
    task: CorpusTask,
    train: pd.DataFrame,
    test: pd.DataFrame,
    seconds: float,
    seed: int,
    classes: list[str],
) -> tuple[np.ndarray, dict[str, Any]]:
    """Predictions of the model that the service makes of the training rows, and what the job says of itself."""
    dataset = client.upload(_csv(train), name=f"{task.name}.csv")
    spec = {
        "dataset_id": dataset["id"],
        "target": task.target,
        "kind": task.kind,
        "metric": baselines.METRICS[task.kind],
        "budget": {"seconds": seconds},
        "seed": seed,
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
        "model": job["model_id"],
        "score": client.model(job["model_id"])["score"],
        "trials": job["progress"].get("trials"),
    }
    if task.kind == "regression":
        return np.array([value for answer in answers for value in answer["predictions"]], float), details
    table = [[row[label] for label in classes] for answer in answers for row in answer["probabilities"]]
    return np.array(table, float), details


def _csv(frame: pd.DataFrame) -> bytes:
    """Lines end in CR LF, so that a lone CR in a cell is quoted too."""
    return frame.to_csv(index=False, lineterminator="\r\n").encode()


def line(name: str, result: dict[str, Any]) -> str:
    """One task as a line of the table."""
    systems = ("warmstart", *RIVALS)
    best = min(systems, key=lambda system: result[system]["loss"])
    cells = "".join(
        f"{result[system]['loss']:>13.5g}{'*' if system == best else ' '}({result[system]['seconds']:4.0f} s)"
        for system in systems
    )
    return f"{name:<24}{result['kind'][:5]:<7}{result['rows']:>7}{cells}"


def report(results: dict[str, Any]) -> None:
    """The table, and on how many tasks Warmstart has the lower loss."""
    print(f"{'task':<24}{'kind':<7}{'rows':>7}" + "".join(f"{name:>21}" for name in ("warmstart", *RIVALS)))
    for name, result in results.items():
        print(line(name, result))
    for rival in RIVALS:
        wins = sum(result["warmstart"]["loss"] < result[rival]["loss"] for result in results.values())
        print(f"better than {rival} on {wins} of {len(results)}")


if __name__ == "__main__":
    main()
