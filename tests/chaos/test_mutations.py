"""The sentinels notice: with a safeguard taken away, what it guards goes wrong (reliability.md, test 24)."""

from __future__ import annotations

import pytest

from tests.chaos import sentinels
from tests.chaos.harness import MARKS, House

pytestmark = MARKS


def test_a_long_job_is_lost_when_leases_are_not_renewed(house: House, dataset_id: str) -> None:
    with house.mutated("worker0", "worker1", mutation="renewal"), pytest.raises(AssertionError):
        sentinels.long_job_keeps_its_lease(house, dataset_id)


def test_a_zombie_writes_when_there_is_no_fence(house: House, dataset_id: str) -> None:
    with (
        house.mutated("worker0", "worker1", mutation="fence"),
        pytest.raises(AssertionError, match="written for epoch"),
    ):
        sentinels.stopped_worker_writes_nothing(house, dataset_id)


def test_a_job_is_stuck_when_nobody_sweeps(house: House, dataset_id: str) -> None:
    with house.mutated("dispatcher", mutation="reaper"), pytest.raises(AssertionError, match="not within"):
        sentinels.lost_worker_loses_no_job(house, dataset_id, seconds=15)


def test_a_job_is_stuck_when_nothing_is_sent_again(house: House, dataset_id: str) -> None:
    with house.mutated("dispatcher", mutation="republish"), pytest.raises(AssertionError, match="have not ended"):
        sentinels.lost_messages_lose_no_job(house, dataset_id, seconds=20)
