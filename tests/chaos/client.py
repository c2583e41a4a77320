"""A client that asks until it is answered and remembers what it was promised; the jobs and the table that it sends."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import httpx

from tests.pace import SLOWNESS


@dataclass
class Client:
    """Sends requests until they are answered, and keeps every acknowledgement and every fault of the service."""

    pause: Callable[[float], None]  #: tends the house for so many seconds
    url: str
    key: str
    acknowledged: list[str] = field(default_factory=list)  #: ids of jobs answered with 202
    faults: list[str] = field(default_factory=list)  #: answers that the service must never give
    refusals: int = 0  #: 503 with Retry-After

    def __post_init__(self) -> None:
        self.http = httpx.Client(
            base_url=self.url,
            headers={"Authorization": f"Bearer {self.key}"},
            timeout=httpx.Timeout(15 * SLOWNESS, connect=2),
        )

    def get(self, path: str, **options: Any) -> httpx.Response:
        """One try of a GET; 599 without an answer."""
        return self.send("GET", path, **options)

    def send(self, method: str, path: str, **options: Any) -> httpx.Response:
        """One try; 599 when the API is not there."""
        try:
            answer = self.http.request(method, path, **options)
        except httpx.TransportError:
            return httpx.Response(599, json={})
        if answer.status_code == 503 and "Retry-After" in answer.headers:
            self.refusals += 1
        elif answer.status_code >= 500 and path != "/readyz":
            self.faults.append(f"{method} {path}: {answer.status_code} {answer.text[:300]}")
        return answer

    def ask(self, method: str, path: str, seconds: float = 60.0, **options: Any) -> Any:
        """Until it is answered, tending the house meanwhile; the decoded answer."""
        headers = options.pop("headers", {})
        if method == "POST":
            headers = {"Idempotency-Key": f'"{uuid4()}"'} | headers
        until = time.monotonic() + seconds * SLOWNESS
        while (answer := self.send(method, path, headers=headers, **options)).status_code >= 500:
            assert time.monotonic() < until, f"{method} {path} is not answered"
            self.pause(0.1)
        assert answer.is_success, f"{method} {path}: {answer.status_code} {answer.text[:500]}"
        return answer.json() if answer.content else {}

    def upload(self, content: bytes) -> str:
        """A dataset's id."""
        return self.ask("POST", "/v1/datasets", params={"name": "rows"}, content=content)["id"]

    def submit(self, dataset_id: str, **spec: Any) -> str:
        """A job's id, once it is acknowledged."""
        body = quick(dataset_id) | spec
        job_id = self.ask("POST", "/v1/jobs", json=body)["id"]
        self.acknowledged.append(job_id)
        return job_id

    def job(self, job_id: str) -> dict[str, Any]:
        """As it is now."""
        return self.ask("GET", f"/v1/jobs/{job_id}")


def quick(dataset_id: str) -> dict[str, Any]:
    """A job that takes a second."""
    return {
        "dataset_id": dataset_id,
        "target": "y",
        "budget": {"seconds": None, "trials": 3},
        "algorithms": {"include": ["dummy", "linear", "naive_bayes"]},
        "validation": {"folds": 2},
    }


def slow(trials: int = 4) -> dict[str, Any]:
    """What makes a job one whose trials take a second each, two side by side; on a slow machine there are more."""
    return {
        "budget": {"seconds": None, "trials": math.ceil(trials * SLOWNESS)},
        "algorithms": {"include": ["slow"]},
        "strategy": "random",
        "ensemble": False,
    }


def make_table(rows: int = 80, seed: int = 0) -> bytes:
    """Numbers, categories and gaps that tell something of y."""
    rng = random.Random(seed)
    lines = ["age,job,debt,y"]
    for _ in range(rows):
        age, job = rng.randint(18, 80), rng.choice("abc")
        debt = "" if rng.random() < 0.1 else f"{rng.gauss(0, 1):.4f}"
        lines.append(f"{age},{job},{debt},{'yes' if age + 20 * (job == 'a') + rng.gauss(0, 15) > 55 else 'no'}")
    return "\n".join(lines).encode() + b"\n"
