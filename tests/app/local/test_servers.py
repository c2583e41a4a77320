"""The embedded PostgreSQL and Valkey."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psycopg
import pytest
import redis

from app.local.postgres import Postgres
from app.local.valkey import Valkey

_RUN_BOTH = """
import signal, sys
from pathlib import Path
from app.local.postgres import Postgres
from app.local.valkey import Valkey
folder = Path(sys.argv[1])
postgres, valkey = Postgres(folder / "postgres", folder / "postgres.log"), Valkey(folder / "valkey.log")
postgres.start()
valkey.start()
print(postgres.url, valkey.url, postgres.process.pid, valkey.process.pid, flush=True)
signal.pause()
"""


@contextmanager
def _running(data: Path) -> Iterator[Postgres]:
    server = Postgres(data, data.with_name(data.name + ".log"))
    server.start()
    try:
        yield server
    finally:
        server.stop()


def _ask(server: Postgres, query: str) -> Any:
    with psycopg.connect(server.url, autocommit=True) as connection:
        answer = connection.execute(query)
        return answer.fetchall() if answer.description else None


def _is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def _wait_until(condition: Callable[[], bool], seconds: float = 10) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.05)


def test_both_serve_and_end_with_their_starter_when_it_is_root_or_an_ordinary_user(account: Any) -> None:
    started = time.monotonic()
    process = account.popen("-c", _RUN_BOTH, str(account.folder), stdout=subprocess.PIPE)
    database, broker, *pids = process.stdout.readline().split()
    print(f"{account.name}: both ready after {time.monotonic() - started:.2f} s")
    try:
        with psycopg.connect(database, autocommit=True) as connection:
            connection.execute("CREATE EXTENSION vector")
            assert connection.execute("SELECT '[1,2]'::vector <-> '[1,3]'::vector").fetchone() == (1.0,)
            assert connection.execute("SHOW data_checksums").fetchone() == ("on",)
        with redis.Redis(unix_socket_path=broker.removeprefix("redis+socket://")) as client:
            assert client.ping()
    finally:
        process.kill()
        process.communicate()
        _wait_until(lambda: not any(_is_alive(int(pid)) for pid in pids))


def test_rows_are_kept_when_the_server_is_stopped_and_started_in_a_path_with_a_space(folder: Path) -> None:
    (folder / "two words").mkdir(mode=0o700)
    with _running(folder / "two words" / "postgres") as server:
        _ask(server, "CREATE TABLE kept AS SELECT 7 AS value")
    with _running(folder / "two words" / "postgres") as server:
        assert _ask(server, "SELECT value FROM kept") == [(7,)]


def test_each_has_its_own_rows_when_two_run_side_by_side(folder: Path) -> None:
    with _running(folder / "one") as one, _running(folder / "two") as two:
        _ask(one, "CREATE TABLE only_here (value int)")
        assert one.url != two.url
        with pytest.raises(psycopg.errors.UndefinedTable):
            _ask(two, "SELECT * FROM only_here")


def test_no_password_no_entry(folder: Path) -> None:
    with _running(folder / "postgres") as server:
        password = server.url.split(":")[2].split("@")[0]
        with pytest.raises(psycopg.OperationalError, match="password"):
            psycopg.connect(server.url.replace(password, "wrong"))
        sockets = Path(server.url.rpartition("host=")[2])
        assert sockets.stat().st_mode & 0o777 == (folder / "postgres").stat().st_mode & 0o777 == 0o700


def test_committed_rows_are_there_at_the_same_address_when_the_server_was_killed(folder: Path) -> None:
    with _running(folder / "postgres") as server:
        _ask(server, "CREATE TABLE kept AS SELECT 7 AS value")
        before = server.url
        os.kill(server.process.pid, signal.SIGKILL)
        server.process.wait()
        started = time.monotonic()
        server.start()
        print(f"answers {time.monotonic() - started:.2f} s after kill -9")
        assert server.url == before
        assert _ask(server, "SELECT value FROM kept") == [(7,)]


def test_no_backend_survives_when_its_postmaster_was_killed_and_another_starts(folder: Path) -> None:
    with _running(folder / "postgres") as server:
        with psycopg.connect(server.url, autocommit=True) as connection:
            backend = connection.info.backend_pid
            busy = threading.Thread(target=_run_for_long, args=(connection,))
            busy.start()
            _wait_until(
                lambda: _ask(server, f"SELECT state FROM pg_stat_activity WHERE pid = {backend}")[0][0] == "active"
            )
            os.kill(server.process.pid, signal.SIGKILL)
            server.process.wait()
            server.start()
            assert not _is_alive(backend)
            busy.join()
        assert _ask(server, "SELECT 1") == [(1,)]


def _run_for_long(connection: psycopg.Connection[Any]) -> None:
    with suppress(psycopg.OperationalError):
        connection.execute("SELECT count(*) FROM generate_series(1, 1000000000) AS n WHERE sqrt(n) < 0")


def test_it_starts_when_a_lock_names_a_pid_that_another_program_has_now(folder: Path) -> None:
    with _running(folder / "postgres") as server:
        lock = (folder / "postgres" / "postmaster.pid").read_text().splitlines()
    with subprocess.Popen(["sleep", "60"]) as bystander:
        (folder / "postgres" / "postmaster.pid").write_text("\n".join([str(bystander.pid), *lock[1:]]) + "\n")
        with _running(folder / "postgres") as server:
            assert _ask(server, "SELECT 1") == [(1,)]
            assert bystander.poll() is None
        bystander.kill()


def test_it_starts_when_initdb_was_cut_off(folder: Path) -> None:
    (folder / "postgres" / "base").mkdir(parents=True)
    (folder / "postgres" / "postgresql.conf").write_text("half a fi")
    with _running(folder / "postgres") as server:
        assert _ask(server, "SELECT 1") == [(1,)]


def test_the_log_is_named_when_the_server_cannot_start(folder: Path) -> None:
    with _running(folder / "postgres"):
        pass
    (folder / "postgres" / "postgresql.conf").write_text("no_such_option = 1\n")
    with pytest.raises(RuntimeError, match=r"postgres\.log"):
        Postgres(folder / "postgres", folder / "postgres.log").start()
    assert "no_such_option" in (folder / "postgres.log").read_text()


def test_valkey_answers_at_the_same_address_when_it_was_killed(folder: Path) -> None:
    server = Valkey(folder / "valkey.log")
    server.start()
    try:
        before = server.url
        os.kill(server.process.pid, signal.SIGKILL)
        server.process.wait()
        server.start()
        assert server.url == before
        with redis.Redis(unix_socket_path=str(server.socket)) as client:
            assert client.ping()
    finally:
        server.stop()
    assert not server.socket.parent.exists()
