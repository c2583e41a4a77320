"""Whatever comes in: a table or a TableError, nothing else. More with WARMSTART_FUZZ=<examples>."""

from __future__ import annotations

import gzip
import io
import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from workers.engine.errors import TableError, TaskError
from workers.engine.table.convert import convert
from workers.engine.table.load import load_table
from workers.engine.table.read import ReadLimits, read_upload

EXAMPLES = int(os.environ.get("WARMSTART_FUZZ", "60"))
FUZZ = settings(max_examples=EXAMPLES, suppress_health_check=[HealthCheck.too_slow])
FUZZ_FEW = settings(FUZZ, max_examples=max(10, EXAMPLES // 6))
LIMITS = ReadLimits(seconds=10, memory_mb=512, max_bytes=1 << 22, max_columns=100, max_rows=1000)

CELL = st.one_of(
    st.text(max_size=8),
    st.integers().map(str),
    st.floats().map(repr),
    st.dates().map(str),
    st.sampled_from(
        ["", "NA", "?", ".", '"', "'", '""', "true", "False", "1,5", "1.234,5", "007", "31/12/2020", "-", "\\"]
    ),
)


def attempt(run: Callable[..., Any], *arguments: Any) -> Any:
    """What it returns, or the error if it is one of ours."""
    try:
        return run(*arguments)
    except (TableError, TaskError) as error:
        return error


def check(content: bytes) -> None:
    """Read it here. What is stored must be what was described, JSON-able and loadable."""
    with tempfile.TemporaryDirectory() as folder:
        source, out = Path(folder) / "source", Path(folder) / "out"
        source.write_bytes(content)
        table = attempt(convert, source, out, Path(folder), LIMITS)
        if isinstance(table, TableError):
            assert table.code
            assert str(table)
            return
        assert "\\u0000" not in json.dumps(table, allow_nan=False)
        stored = pq.read_table(out)
        assert (stored.num_rows, stored.column_names) == (table["rows"], [info["name"] for info in table["columns"]])
        loaded = attempt(load_table, out, table["columns"])
        if isinstance(loaded, TaskError):
            assert "nothing to learn" in str(loaded) or "is constant or an id" in str(loaded)


@FUZZ
@given(st.lists(st.lists(CELL, min_size=1, max_size=5), max_size=6), st.sampled_from([",", ";", "\t", "|"]))
def test_ends_well_when_delimited_text_is_wild(rows, delimiter):
    check("\n".join(delimiter.join(row) for row in rows).encode("utf-8", "replace"))


@FUZZ
@given(st.binary(max_size=300))
def test_ends_well_when_bytes_are_random(content):
    check(content)


@FUZZ
@given(
    st.lists(
        st.dictionaries(
            st.text(max_size=5), st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
        )
    )
)
def test_ends_well_when_json_lines_are_wild(rows):
    check("\n".join(json.dumps(row) for row in rows).encode())


@FUZZ
@given(st.text(alphabet="@{}'\"\\,% \n\tabn01?.", max_size=120), st.text(alphabet="{}'\"\\,% \n01ab?.", max_size=80))
def test_ends_well_when_arff_is_wild(header, body):
    check(f"@relation x\n@attribute a numeric\n@attribute b {{x,y}}\n{header}\n@data\n{body}".encode())


@FUZZ
@given(st.binary(max_size=200), st.booleans())
def test_ends_well_when_compressed_bytes_are_random(content, is_whole):
    packed = gzip.compress(content)
    check(packed if is_whole else packed[: len(packed) // 2])


def _file(kind: str) -> bytes:
    table = pa.table({"a": [1, 2, None], "b": ["x", "y", None], "c": [0.5, None, 2.0]})
    sink = io.BytesIO()
    (pq.write_table if kind == "parquet" else pyarrow.feather.write_feather)(table, sink)
    return sink.getvalue()


FILES = {kind: _file(kind) for kind in ("parquet", "feather")}


@FUZZ_FEW
@given(
    st.sampled_from(sorted(FILES)), st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), min_size=1, max_size=4)
)
def test_stays_in_the_child_when_binary_files_are_damaged(kind, changes):
    """A damaged file may crash its reader: only the child process then, and within the limits."""
    content = bytearray(FILES[kind])
    for place, value in changes:
        content[int(place * (len(content) - 1))] = value
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "source"
        source.write_bytes(content)
        table = attempt(read_upload, source, Path(folder) / "out", LIMITS)
    assert table.code if isinstance(table, TableError) else table.rows > 0
