"""The whole of reading, as the child process runs it: open, settle every column's type, write Parquet, describe."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ..errors import TableError
from .profile import FileNotes, describe
from .read import ReadLimits
from .readers import BATCH_ROWS, Reader, open_reader, too_many_rows
from .source import open_source
from .types import TEXT, TextColumn, fixed_text, ladder, natural

_GROUP_BYTES = 64 << 20
_NAME_MAX = 500  # characters of a column's name


def convert(
    source: Path,
    out: Path,
    work: Path,
    limits: ReadLimits,
    *,
    filename: str | None = None,
    header: bool | None = None,
) -> dict[str, Any]:
    """Write the table of `source` to `out`; the fields of a `ReadTable`.

    Raises:
        TableError: see `read_upload`.
    """
    pa.set_cpu_count(2)
    reader = open_reader(open_source(source, work, limits, filename), work, limits, header=header)
    if not reader.names:
        raise TableError("The table has no columns.", "no_columns")
    if len(reader.names) > limits.max_columns:
        raise TableError(
            f"The table has {len(reader.names):,} columns; at most {limits.max_columns:,} are allowed.",
            "too_many_columns",
        )
    names, renamed = unique_names(reader.names)
    columns = Columns(reader, names)
    rows = columns.write(out, limits)
    if rows == 0:
        raise TableError(f"The table has a header ({', '.join(names[:5])}) and no rows.", "no_rows")
    notes = FileNotes(
        declared={names[place]: kind for place, kind in reader.declared.items()},
        renamed=renamed,
        broken={names[place]: column.broken_by for place, column in columns.text.items() if column.broken_by},
        formats={names[place]: column.formats for place, column in columns.text.items() if column.formats},
    )
    return {"format": reader.format, "rows": rows, **describe(out, notes)}


def unique_names(names: list[str]) -> tuple[list[str], dict[str, str]]:
    """Names that are neither empty nor twice there, and which were changed (new name -> as it was).

    A second "x" becomes "x_2"; an empty name "column_<place>"; NUL becomes U+FFFD; over 500 characters are cut.
    """
    taken = set(names)
    used: set[str] = set()
    unique: list[str] = []
    renamed: dict[str, str] = {}
    for place, raw in enumerate(names):
        base = raw.strip().replace("\0", "\ufffd")[:_NAME_MAX] or f"column_{place + 1}"
        name, number = base, 1
        while name in used or (name != raw and name in taken):
            number += 1
            name = f"{base}_{number}"
        used.add(name)
        unique.append(name)
        if name != raw.strip():
            renamed[name] = raw
    return unique, renamed


class Columns:
    """The columns of one file while their types are being settled."""

    def __init__(self, reader: Reader, names: list[str]) -> None:
        self._reader, self._names = reader, names
        self.text: dict[int, TextColumn] = {}  #: by place, those that come as text

    def write(self, out: Path, limits: ReadLimits) -> int:
        """Pass over the file until a pass has changed no column's type; number of rows.

        The first pass settles nearly every file. Each further one follows a narrower reading, so that they end.
        """
        while True:
            rows, is_settled = self._pass(out, limits)
            if is_settled:
                return rows

    def _pass(self, out: Path, limits: ReadLimits) -> tuple[int, bool]:
        rows, schema, writer = 0, None, None
        try:
            for table in self._groups(limits):
                rows += table.num_rows
                if schema is None:
                    schema = table.schema
                    writer = _open_writer(out, schema)
                if writer is not None and table.schema == schema:
                    writer.write_table(table)
                elif writer is not None:  # a type changed: go on reading only to settle the others too
                    writer.close()
                    writer = None
        finally:
            if writer is not None:
                writer.close()
        return rows, writer is not None or rows == 0

    def _groups(self, limits: ReadLimits) -> Iterator[pa.Table]:
        """Converted batches, joined to row groups of a decent size."""
        held: list[pa.RecordBatch] = []
        rows = held_rows = held_bytes = 0
        for raw in self._reader.batches():
            rows += raw.num_rows
            if rows > limits.max_rows:
                raise too_many_rows(limits)
            batch = self._convert(raw)
            held.append(batch)
            held_rows += batch.num_rows
            held_bytes += batch.nbytes
            if held_rows >= BATCH_ROWS or held_bytes >= _GROUP_BYTES:
                yield from self._join(held)
                held, held_rows, held_bytes = [], 0, 0
        if held:
            yield from self._join(held)

    def _convert(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        return pa.record_batch([self._column(place, array) for place, array in enumerate(batch)], names=self._names)

    def _column(self, place: int, array: pa.Array) -> pa.Array:
        array = natural(array, self._names[place])
        if not pa.types.is_string(array.type):
            return array
        if place not in self.text:
            readings = ladder(comma_is_decimal=self._reader.comma_is_decimal)
            if self._reader.declared.get(place) in ("category", "string"):
                readings = fixed_text()
            self.text[place] = TextColumn(readings)
        return self.text[place].convert(array)

    def _join(self, held: list[pa.RecordBatch]) -> Iterator[pa.Table]:
        """One table, or several where a type changed in between."""
        start = 0
        for place in range(1, len(held) + 1):
            if place == len(held) or held[place].schema != held[start].schema:
                yield pa.Table.from_batches(held[start:place])
                start = place


def _open_writer(out: Path, schema: pa.Schema) -> pq.ParquetWriter:
    words = [field.name for field in schema if field.type == TEXT]  # dictionaries only slow numbers down
    return pq.ParquetWriter(out, schema, compression="zstd", compression_level=1, use_dictionary=words)
