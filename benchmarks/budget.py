"""Does a job end when it must, and how soon is there a first model?

    python -m benchmarks.budget --out results/budget.json

Budgets of 5, 15 and 60 s on 500 rows, 20,000 rows and 50,000 rows x 100 columns: seconds from the first claim to the
committed end, on the database's clock, against 1.05 x budget + 1. Then 1,000 rows on a warm worker: seconds from the
claim to the first model that can be downloaded. Peak memory is the sum of the proportional set sizes of the whole
stack (PostgreSQL, Valkey, API, dispatcher, predictor, worker and trials), sampled four times a second.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

from app.client import Client
from benchmarks.made import make_table
from benchmarks.memory import PeakMemory
from benchmarks.stack import Stack, instant, running_stack

TABLES = {"500 x 10": (500, 10), "20,000 x 20": (20_000, 20), "50,000 x 100": (50_000, 100)}


def main() -> None:
    """Run all budgets on all tables and print what they took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--budgets", type=float, nargs="*", default=[5, 15, 60])
    parser.add_argument("--out", type=Path, default=Path("results/budget.json"))
    options = parser.parse_args()
    results: list[dict[str, Any]] = []
    with running_stack() as stack:
        for name, (rows, columns) in TABLES.items():
            dataset = upload(stack.client, rows, columns)
            for budget in options.budgets:
                results.append({"table": name, **timed_job(stack, dataset, budget)})
                print(line(results[-1]), flush=True)
        first = first_models(stack.client)
    print(f"first model on 1,000 rows, seconds after the claim: {', '.join(f'{s:.2f}' for s in first)} (limit 2)")
    late = [result for result in results if result["seconds"] > result["limit"]]
    print(f"{len(late)} of {len(results)} jobs late")
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps({"jobs": results, "first_model_s": first}, indent=1))


def upload(client: Client, rows: int, columns: int) -> str:
    """Post a made table; its id."""
    content = make_table(rows, columns).to_csv(index=False).encode()
    return str(client.upload(content, name=f"{rows}x{columns}.csv")["id"])


def timed_job(stack: Stack, dataset: str, budget: float) -> dict[str, Any]:
    """One job: what it took, and the stack's peak memory meanwhile."""
    with PeakMemory(stack.pid) as memory:
        job = stack.client.create_job({"dataset_id": dataset, "target": "y", "budget": {"seconds": budget}})
        job = stack.client.wait(job["id"])
    if job["state"] != "succeeded":
        raise RuntimeError(f"{job['state']}: {job.get('error')}")
    seconds = (instant(job["finished_at"]) - instant(job["started_at"])).total_seconds()
    return {
        "budget": budget,
        "seconds": seconds,
        "limit": 1.05 * budget + 1,
        "peak_mb": memory.peak_mb,
        "score": stack.client.model(job["model_id"])["score"]["value"],
        "trials": job["progress"].get("trials"),
    }


def first_models(client: Client, repeats: int = 5) -> list[float]:
    """Seconds from claim to the first model event, on 1,000 rows."""
    dataset = upload(client, 1000, 10)
    seconds = []
    for _ in range(repeats):
        job = client.create_job({"dataset_id": dataset, "target": "y", "budget": {"seconds": 5}})
        job = client.wait(job["id"])
        model = next(event for event in client.events(job["id"]) if event["type"] == "model")
        seconds.append((instant(model["data"]["at"]) - instant(job["started_at"])).total_seconds())
        time.sleep(3)  # the worker warms its next runner, as it would between two jobs
    return seconds


def line(result: dict[str, Any]) -> str:
    """One job as a line of the table."""
    return (
        f"{result['table']:<14} budget {result['budget']:>4.0f} s: ended after {result['seconds']:6.2f} s"
        f" (limit {result['limit']:.2f}), {result['trials']} trials, score {result['score']:.4f},"
        f" peak {result['peak_mb']:.0f} MB"
    )


if __name__ == "__main__":
    main()
