"""One whole service for all fault tests of a session."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.chaos.client import make_table
from tests.chaos.harness import House, running_house


@pytest.fixture(scope="session")
def running() -> Iterator[House]:
    """Every part of the service as a process of its own."""
    with running_house() as house:
        yield house


@pytest.fixture
def house(running: House) -> House:
    """The service, whole and idle, its witnesses silent."""
    for part in running.parts.values():
        part.is_wanted = True
    running.settle()
    running.client.acknowledged.clear()
    running.client.faults.clear()
    running.client.refusals = 0
    with running.sql() as connection:
        connection.execute("TRUNCATE chaos_violations")
    return running


@pytest.fixture(scope="session")
def dataset_id(running: House) -> str:
    """A small table."""
    return running.client.upload(make_table())
