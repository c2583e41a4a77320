"""A role of the service with what a test changes in it: `python role.py ROLE [MUTATION]`.

Learners are planted in the registry; a mutation takes one safeguard away (reliability.md, test 24).
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from workers.engine.catalog import LEARNERS

LEARNERS |= {
    "poison": "/planted:POISON",
    "slow": "/planted:SLOW",
    "eater": "/hostile:EAT_MEMORY",
    "segfault": "/hostile:SEGFAULT",
    "forker": "/hostile:FORK_WILDLY",
    "looper": "/hostile:LOOP_FOR_EVER",
}


def _without_renewal() -> None:
    from workers.renewal import Renewal

    Renewal.run = lambda self: None  # type: ignore[method-assign]


def _without_fence() -> None:
    from app.jobs import journal, leases

    def hold(session: Any, lease: Any) -> None:
        """Let everybody in."""

    leases.hold = journal.hold = hold  # type: ignore[attr-defined]
    leases._held = lambda lease, states: (leases.Job.id == lease.job_id,)


def _without_reaper() -> None:
    from app.jobs import recovery

    recovery.requeue_expired = lambda session, **_: 0


def _without_republish() -> None:
    from app.jobs import queue

    original = queue.next_jobs
    queue.next_jobs = lambda session, **arguments: original(session, **arguments | {"waiting_s": 1e9})


MUTATIONS = {
    "renewal": _without_renewal,
    "fence": _without_fence,
    "reaper": _without_reaper,
    "republish": _without_republish,
}


def _worker(mutation: str) -> int:
    import workers.__main__ as worker
    from workers.nursery import Nursery, Runner

    class Marking(Nursery):
        """Its runners know the planted learners, and leave a mark when they are warm."""

        def __init__(self, slots: int) -> None:
            super().__init__(slots, (sys.executable, __file__, "runner", mutation))

        def keep(self, runner: Runner) -> None:
            super().keep(runner)
            Path(f"warm-{runner.pid}").touch()

    worker.Nursery = Marking  # type: ignore[misc]
    sys.argv = ["workers"]
    return worker.main()


def _runner() -> int:
    from workers import runner

    sys.argv = ["runner", sys.argv[-1]]
    return runner.main()


def main() -> int:
    """Run the role."""
    role, mutation = sys.argv[1], sys.argv[2]
    if mutation in MUTATIONS:
        MUTATIONS[mutation]()
    if role == "worker":
        return _worker(mutation)
    if role == "runner":
        return _runner()
    from app.cli import roles

    getattr(roles, role)()
    return 0


if __name__ == "__main__":
    sys.exit(main())
