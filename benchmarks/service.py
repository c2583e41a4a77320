"""How quick is the service itself?

    python -m benchmarks.service --out results/service.json

In one run on one embedded stack: commit to running on an idle worker; one-row and 1,000-row predictions on a warm
model; other requests while 1,000 clients wait on a job's events; submitting with 10,000 jobs queued; a large CSV
uploaded, and how much the API's memory grew.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil

from app.client import Client
from benchmarks.made import as_rows, make_table
from benchmarks.stack import Stack, instant, running_stack

Figures = dict[str, float]


def main() -> None:
    """Run every part and print its figures beside their limits."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--queued", type=int, default=10_000)
    parser.add_argument("--waiters", type=int, default=1000)
    parser.add_argument("--upload-mb", type=int, default=1000)
    parser.add_argument("--out", type=Path, default=Path("results/service.json"))
    options = parser.parse_args()
    options.out.parent.mkdir(parents=True, exist_ok=True)
    results: dict[str, Figures] = {}
    with running_stack() as stack:
        dataset = stack.client.upload(make_table(1000, 10).to_csv(index=False).encode(), name="small.csv")["id"]
        parts: dict[str, Callable[[], Figures]] = {
            "start": lambda: start(stack.client, dataset),
            "predict": lambda: predict(stack.client, dataset),
            "waiters": lambda: waiters(stack, dataset, options.waiters),
            "submit": lambda: submit(stack, dataset, options.queued),
            "upload": lambda: upload(stack, options.upload_mb),
        }
        for name, part in parts.items():
            results[name] = part()
            print(f"{name:<10}" + "  ".join(f"{key} {value:.4g}" for key, value in results[name].items()), flush=True)
            options.out.write_text(json.dumps(results, indent=1))


def start(client: Client, dataset: str, repeats: int = 15) -> Figures:
    """Milliseconds from the job's commit to running, the worker being idle and warm. Limit: p50 100."""
    waits = []
    for _ in range(repeats):
        job = client.wait(client.create_job(quick(dataset))["id"])
        waits.append(1000 * (instant(job["started_at"]) - instant(job["created_at"])).total_seconds())
        time.sleep(3)
    return {"commit_to_running_p50_ms": float(np.median(waits)), "max_ms": max(waits)}


def predict(client: Client, dataset: str) -> Figures:
    """Milliseconds of a warm one-row prediction (limits: p50 15, p99 60), rows a second in batches of 1,000."""
    job = client.wait(client.create_job({"dataset_id": dataset, "target": "y", "budget": {"seconds": 30}})["id"])
    rows = as_rows(make_table(1000, 10, seed=1).drop(columns="y"))
    model = job["model_id"]
    client.predict(model, rows[:1])
    single = [timed(partial(client.predict, model, [row])) for row in rows[:500]]
    batches = [timed(lambda: client.predict(model, rows)) for _ in range(10)]
    return {
        "one_row_p50_ms": 1000 * float(np.median(single)),
        "one_row_p99_ms": 1000 * float(np.quantile(single, 0.99)),
        "rows_per_s": 1000 / float(np.median(batches)),
    }


def waiters(stack: Stack, dataset: str, count: int) -> Figures:
    """Milliseconds of other requests while `count` clients wait, half on SSE, half on long polls. Limit: p99 500.

    The waiting clients live in a process of their own, so that their work is not measured as the service's.
    """
    spec = {"dataset_id": dataset, "target": "y", "budget": {"seconds": 60}}
    job = stack.client.create_job(spec)["id"]
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        waiting = pool.submit(run_waiters, stack.url, stack.key, job, count)
        time.sleep(15)  # all have connected
        seconds = []
        for _ in range(200):
            seconds.append(timed(partial(stack.client.dataset, dataset)))
            time.sleep(0.05)
        failed = waiting.result()
    return {
        "waiters": count,
        "failed_waiters": failed,
        "others_p50_ms": 1000 * float(np.median(seconds)),
        "others_p99_ms": 1000 * float(np.quantile(seconds, 0.99)),
    }


def run_waiters(url: str, key: str, job: str, count: int) -> int:
    """Let `count` clients wait for the job's end; how many failed."""

    async def wait() -> list[object]:
        headers = {"Authorization": f"Bearer {key}"}
        limits = httpx.Limits(max_connections=None)
        async with httpx.AsyncClient(base_url=url, headers=headers, limits=limits, timeout=None) as client:
            each = [listen(client, job) if i % 2 else poll(client, job) for i in range(count)]
            return await asyncio.gather(*each, return_exceptions=True)

    return sum(isinstance(end, BaseException) for end in asyncio.run(wait()))


async def listen(client: httpx.AsyncClient, job: str) -> None:
    """Read a job's event stream to its end."""
    async with client.stream("GET", f"/v1/jobs/{job}/events") as answer:
        answer.raise_for_status()
        async for _ in answer.aiter_lines():
            continue


async def poll(client: httpx.AsyncClient, job: str) -> None:
    """Long-poll a job until it has ended."""
    etag = ""
    while True:
        answer = await client.get(f"/v1/jobs/{job}", headers={"Prefer": "wait=30", "If-None-Match": etag})
        if answer.status_code == 304:
            continue
        answer.raise_for_status()
        etag = answer.headers["ETag"]
        if answer.json()["state"] in ("succeeded", "failed", "cancelled"):
            return


def submit(stack: Stack, dataset: str, queued: int) -> Figures:
    """Milliseconds of POST /v1/jobs, one client, once `queued` jobs wait. Stated with p50 and p99."""
    stack.client.create_job({"dataset_id": dataset, "target": "y", "budget": {"seconds": 3600}})
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: stack.client.create_job(quick(dataset)), range(queued)))
    seconds = [timed(lambda: stack.client.create_job(quick(dataset))) for _ in range(500)]
    return {
        "queued": queued,
        "submit_p50_ms": 1000 * float(np.median(seconds)),
        "submit_p99_ms": 1000 * float(np.quantile(seconds, 0.99)),
    }


def upload(stack: Stack, megabytes: int) -> Figures:
    """MB by which the API's memory grew at most while a CSV of `megabytes` was uploaded. Limit: 64."""
    api = psutil.Process(stack.pids["api"])
    line = make_table(20_000, 20, seed=2).to_csv(index=False).encode()
    header, body = line.split(b"\n", 1)

    def content() -> Iterator[bytes]:
        yield header + b"\n"
        for _ in range(max(1, megabytes * 1_000_000 // len(body))):
            yield body

    before, peak, started = rss_mb(api), 0.0, time.perf_counter()
    with ThreadPoolExecutor(1) as pool:
        task = pool.submit(stack.client.upload, content(), name="large.csv")
        while not task.done():
            peak = max(peak, rss_mb(api))
            time.sleep(0.2)
        rows = task.result()["rows"]
    return {
        "mb": megabytes,
        "rows": rows,
        "seconds": time.perf_counter() - started,
        "api_mb_before": before,
        "api_mb_grown": peak - before,
    }


def quick(dataset: str) -> dict[str, Any]:
    """The spec of a job that takes no time."""
    return {
        "dataset_id": dataset,
        "target": "y",
        "budget": {"seconds": None, "trials": 1},
        "algorithms": {"include": ["dummy"]},
        "ensemble": False,
    }


def timed(action: Callable[[], object]) -> float:
    """Seconds that it takes."""
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


def rss_mb(process: psutil.Process) -> float:
    """Resident memory."""
    return float(process.memory_info().rss) / 1e6


if __name__ == "__main__":
    main()
