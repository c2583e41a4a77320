"""Tables to read and to load."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from workers.engine.errors import TableError
from workers.engine.table.convert import convert
from workers.engine.table.read import ReadLimits, ReadTable, read_upload

Read = Callable[..., ReadTable]


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    """Where the table that was read last lies."""
    return tmp_path / "stored.parquet"


@pytest.fixture
def upload(tmp_path: Path, stored: Path) -> Read:
    """Reads bytes as the service does, in a process of its own."""

    def read(content: bytes, *, limits: ReadLimits | None = None, **options: Any) -> ReadTable:
        source = tmp_path / "source"
        source.write_bytes(content)
        return read_upload(source, stored, limits, **options)

    return read


@pytest.fixture
def read(tmp_path: Path, stored: Path) -> Read:
    """Reads bytes in this process: quick, for what can't go wild."""

    def run(content: bytes, *, limits: ReadLimits | None = None, **options: Any) -> ReadTable:
        source, work = tmp_path / "source", tmp_path / "work"
        source.write_bytes(content)
        work.mkdir(exist_ok=True)
        return ReadTable(**convert(source, stored, work, limits or ReadLimits(), **options))

    return run


@pytest.fixture
def refuse(upload: Read, stored: Path) -> Callable[..., TableError]:
    """Reads what can't be read; the error. Nothing may be left behind."""

    def run(content: bytes, code: str, **options: Any) -> TableError:
        with pytest.raises(TableError) as caught:
            upload(content, **options)
        assert caught.value.code == code, str(caught.value)
        assert [path.name for path in stored.parent.iterdir()] == ["source"]
        return caught.value

    return run


@pytest.fixture
def rows_of(stored: Path) -> Callable[[], list[dict[str, Any]]]:
    """The stored table's rows."""
    return lambda: pq.read_table(stored).to_pylist()


@pytest.fixture
def load_from(read: Read, stored: Path) -> Callable[..., list[dict[str, Any]]]:
    """Stores a table made of columns; its list of columns."""

    def run(**columns: Any) -> list[dict[str, Any]]:
        sink = pa.BufferOutputStream()
        pq.write_table(pa.table(columns), sink)
        return read(sink.getvalue().to_pybytes()).columns

    return run
