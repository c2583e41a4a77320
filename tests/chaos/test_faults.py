"""One fault at a time (reliability.md, tests 2 to 5 and 8 to 10)."""

from __future__ import annotations

import random
import time
from signal import SIGCONT, SIGSTOP

import psutil
import pytest

from tests.chaos import sentinels
from tests.chaos.client import slow
from tests.chaos.harness import IS_FULL, LEASE_S, MARKS, TEMPO, House
from tests.pace import SLOWNESS

pytestmark = MARKS
PATIENCE_S = 40 * TEMPO  # a supervisor's is 45


def test_a_stopped_worker_writes_nothing_when_it_wakes_too_late(house: House, dataset_id: str) -> None:
    sentinels.stopped_worker_writes_nothing(house, dataset_id)


def test_a_long_job_keeps_its_lease(house: House, dataset_id: str) -> None:
    sentinels.long_job_keeps_its_lease(house, dataset_id)


def test_a_job_goes_on_elsewhere_when_its_worker_is_lost(house: House, dataset_id: str) -> None:
    sentinels.lost_worker_loses_no_job(house, dataset_id)


@pytest.mark.parametrize("flush", [False, True], ids=["fetched and lost", "flushed"])
def test_jobs_are_sent_again_when_messages_are_lost(flush: bool, house: House, dataset_id: str) -> None:
    for _ in range(25 if IS_FULL else 1):  # two messages each
        sentinels.lost_messages_lose_no_job(house, dataset_id, flush=flush)


def test_jobs_are_accepted_and_run_later_when_the_broker_is_away(house: House, dataset_id: str) -> None:
    """It keeps nothing, so that it comes back empty."""
    house.kill("valkey", restart=False)
    ids = [house.client.submit(dataset_id) for _ in range(3)]
    house.pause(300 if IS_FULL else 3)
    ids.append(house.client.submit(dataset_id))
    assert house.client.refusals == 0
    house.parts["valkey"].is_wanted = True
    back = time.monotonic()
    house.wait(lambda: set(house.states(ids).values()) != {"queued"}, 60)
    print(f"work resumed {time.monotonic() - back:.1f} s after the broker was back")
    house.wait_ended(ids, 60)
    assert house.check(ids)["succeeded"] == 4


def test_a_running_trial_survives_when_postgresql_restarts(house: House, dataset_id: str) -> None:
    """Immediate restarts, and an outage shorter than a supervisor's patience."""
    job_id = house.client.submit(dataset_id, **slow(trials=60 if IS_FULL else 20))
    name = house.wait_running(job_id, told=1)
    runners, longest = house.runners(name), 0.0
    for _ in range(20 if IS_FULL else 2):
        longest = max(longest, _outage(house, job_id))
    house.kill("postgres", restart=False)
    gone, until = time.monotonic(), time.monotonic() + 1.5
    while time.monotonic() < until:
        answer = house.client.get(f"/v1/jobs/{job_id}")
        assert answer.status_code == 503
        assert int(answer.headers["Retry-After"]) >= 1
        time.sleep(0.1)
    house.parts["postgres"].is_wanted = True
    house.wait(lambda: _is_renewed(house, job_id), 30)
    longest = max(longest, time.monotonic() - gone)
    house.wait_ended([job_id], 120)
    print(f"longest time without a renewal: {longest:.1f} s")
    if longest < PATIENCE_S:  # on a machine that is too busy, PostgreSQL takes longer to recover than that
        assert house.attempts(job_id) == 1
        assert house.runners(name) == runners
    assert house.check([job_id])["succeeded"] == 1


def _outage(house: House, job_id: str) -> float:
    """An immediate restart; seconds until the job's lease is fresh again, or the job is with another."""
    gone = time.monotonic()
    house.kill("postgres")
    house.wait(lambda: _is_renewed(house, job_id), 60)
    return time.monotonic() - gone


def _is_renewed(house: House, job_id: str) -> bool:
    fresh = "lease_until > clock_timestamp() + make_interval(secs => %s) OR state NOT IN ('running', 'cancelling')"
    return house.rows(f"SELECT {fresh} FROM jobs WHERE id = %s", LEASE_S * SLOWNESS - 0.6, job_id) == [(True,)]


def test_nothing_is_lost_when_postgresql_is_away_for_longer(house: House, dataset_id: str) -> None:
    """Longer than leases last: jobs are cut off, and run again."""
    job_id = house.client.submit(dataset_id, **slow(trials=6))
    house.wait_running(job_id, told=1)
    done = house.told(job_id)
    house.kill("postgres", restart=False)
    house.pause(60 if IS_FULL else 7)
    house.parts["postgres"].is_wanted = True
    ids = [job_id, house.client.submit(dataset_id)]
    house.wait_ended(ids, 90)
    told = house.told(job_id)
    assert all(trial in told for trial in done)  # in order of number; the second may have been told first
    assert house.check(ids)["succeeded"] == 2


def test_requests_wait_when_postgresql_is_paused(house: House, dataset_id: str) -> None:
    job_id = house.client.submit(dataset_id, **slow(trials=6))
    house.wait_running(job_id)
    server = psutil.Process(house.pid("postgres"))
    processes = [server, *server.children(recursive=True)]
    for process in processes:
        process.send_signal(SIGSTOP)
    time.sleep(3)
    for process in processes:
        process.send_signal(SIGCONT)
    house.wait_ended([job_id], 60)
    assert house.attempts(job_id) == 1
    assert house.check([job_id])["succeeded"] == 1


def test_a_job_succeeds_by_other_trials_when_learners_are_hostile(house: House, dataset_id: str) -> None:
    servers = [house.pid(name) for name in ("postgres", "api", "worker0", "worker1")]
    hostile = ["eater", "segfault", "forker", "looper"]
    job_id = house.client.submit(
        dataset_id,
        algorithms={"include": [*hostile, "linear", "naive_bayes"]},
        budget={"seconds": None, "trials": 8},  # some learners have two configurations that are tried early
        trial={"seconds": 8, "memory_mb": 500},
    )
    house.wait_ended([job_id], 90)
    statuses = {trial["proposal"]["configuration"]["learner"]: status for _, _, status, trial in house.told(job_id)}
    assert statuses == {
        "eater": "out_of_memory",
        "segfault": "crashed",
        "forker": "crashed",
        "looper": "timed_out",
        "linear": "succeeded",
        "naive_bayes": "succeeded",
    }
    assert [house.pid(name) for name in ("postgres", "api", "worker0", "worker1")] == servers
    assert house.check([job_id])["succeeded"] == 1


def test_a_poison_job_fails_after_three_attempts_and_others_run(house: House, dataset_id: str) -> None:
    poison = house.client.submit(dataset_id, algorithms={"include": ["poison"]}, budget={"seconds": None, "trials": 1})
    others = [house.client.submit(dataset_id) for _ in range(3)]
    house.wait_ended([poison, *others], 120)
    job = house.client.job(poison)
    assert (job["state"], job["attempt"], job["error"]["code"]) == ("failed", 3, "worker_lost")
    assert house.check([poison, *others]) == {"failed": 1, "succeeded": 3}


def test_cancelled_jobs_end_and_publish_nothing_more(house: House, dataset_id: str) -> None:
    """Cancelled at random instants, in whatever state they are."""
    rng, count = random.Random(5), 500 if IS_FULL else 50
    ids, waiting, latest = [], [], 0.0
    for _ in range(count):
        spec = {"seed": rng.randrange(1000)} | (slow() if rng.random() < 0.5 else {})
        ids.append(house.client.submit(dataset_id, **spec))
        waiting.append((time.monotonic() + rng.choice((0.0, rng.uniform(0, 1), rng.uniform(0, 6))), ids[-1]))
        latest = max(latest, _cancel_due(house, waiting))
        house.pause(rng.uniform(0, 0.6))
    while waiting:
        latest = max(latest, _cancel_due(house, waiting))
        house.pause(0.05)
    house.wait(lambda: not house.trials(), max(0.1, latest + 10 - time.monotonic()))
    counts = house.wait_ended(ids, 30)
    print(f"{sum(state == 'cancelled' for state in counts.values())} of {count} cancelled")
    assert house.check(ids)["failed"] == 0
    cancelled = [job_id for job_id, state in counts.items() if state == "cancelled"]
    assert len(cancelled) > count / 2
    slowest = house.rows(
        "SELECT max(extract(epoch FROM jobs.finished_at - asked.created_at)) FROM jobs JOIN job_events AS asked "
        "ON asked.job_id = jobs.id AND asked.data ->> 'state' = 'cancelling' WHERE jobs.id = ANY(%s::uuid[])",
        cancelled,
    )
    print(f"slowest end of a running job after its cancel: {slowest[0][0]} s")
    assert (slowest[0][0] or 0) < 10 * SLOWNESS


def _cancel_due(house: House, waiting: list[tuple[float, str]]) -> float:
    """Cancel what it is time for; when the last acknowledgement came."""
    now = time.monotonic()
    for entry in [entry for entry in waiting if entry[0] <= now]:
        waiting.remove(entry)
        answer = house.client.send("POST", f"/v1/jobs/{entry[1]}:cancel")
        assert answer.status_code in (200, 202, 409), answer.text
    return time.monotonic()
