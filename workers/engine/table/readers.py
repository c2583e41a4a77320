"""One reader a format. Each knows its columns' names and yields record batches, as often as asked.

Columns come as text where the format has no types, else as Arrow types; `convert.py` settles them.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from ..errors import TableError
from .dialect import Dialect, guess_dialect
from .read import ReadLimits
from .source import Plain

BATCH_ROWS = 65_536
_BLOCK_BYTES = 8 << 20
_CLAIM_FREE_BYTES = 256 << 20
_CLAIM_RATIO = 2_000  # dictionary and run-length encoding reach honest ratios of hundreds


class Reader(Protocol):
    """A file of a known format."""

    format: str  #: csv, parquet, arrow, jsonl, arff
    names: list[str]  #: as in the file: perhaps empty, perhaps twice
    declared: dict[int, str]  #: kinds that the file itself states, by place
    comma_is_decimal: bool

    def batches(self) -> Iterator[pa.RecordBatch]:
        """All rows. Columns stand in the order of `names`."""
        ...


def open_reader(plain: Plain, work: Path, limits: ReadLimits, *, header: bool | None) -> Reader:
    """The reader for a file.

    Raises:
        TableError: the file's own head can't be read.
    """
    if plain.format == "parquet":
        return ParquetReader(plain.path, limits)
    if plain.format in ("arrow", "arrow_stream"):
        return ArrowReader(plain.path, is_stream=plain.format == "arrow_stream")
    if plain.format == "jsonl":
        from .jsonl import JsonlReader

        return JsonlReader(plain.path, limits)
    if plain.format == "arff":
        from .arff import open_arff

        return open_arff(plain.path, work)
    return CsvReader(plain.path, guess_dialect(plain.path, filename=plain.filename, header=header))


class CsvReader:
    """Delimited text, read as text by Arrow in blocks of 8 MiB."""

    format = "csv"

    def __init__(self, path: Path, dialect: Dialect, escape: str | None = None) -> None:
        self._path, self._dialect, self._escape = path, dialect, escape
        self.names = dialect.names or [f"column_{place + 1}" for place in range(dialect.width)]
        self.declared: dict[int, str] = {}
        self.comma_is_decimal = dialect.delimiter != ","

    def batches(self) -> Iterator[pa.RecordBatch]:
        """All rows.

        Raises:
            TableError: ragged_rows, row_too_long, open_quote.
        """
        if self._path.stat().st_size <= self._dialect.offset:
            return
        bad: list[pa_csv.InvalidRow] = []
        last: pa.RecordBatch | None = None
        with pa.OSFile(str(self._path)) as file:
            file.seek(self._dialect.offset)
            try:
                for batch in self._open(file, bad):
                    yield batch
                    last = batch
            except pa.ArrowInvalid as error:
                raise self._explain(error, bad) from error
        if last is not None and last.num_rows and self._is_open(last.column(last.num_columns - 1)[-1].as_py()):
            raise TableError("A quote that opens in the last rows never closes, so they run together.", "open_quote")

    def _is_open(self, last_value: str) -> bool:
        """Whether the file ends inside a quoted value: then its last value holds line ends, and no quote follows."""
        if self._dialect.quote is None or "\n" not in last_value:
            return False
        with self._path.open("rb") as file:
            file.seek(max(0, self._path.stat().st_size - 1000))
            return not file.read().rstrip().endswith(self._dialect.quote.encode())

    def _open(self, file: pa.NativeFile, bad: list[pa_csv.InvalidRow]) -> pa_csv.CSVStreamingReader:
        def note(row: pa_csv.InvalidRow) -> str:
            bad.append(row)
            return "error"

        places = [str(place) for place in range(self._dialect.width)]
        return pa_csv.open_csv(
            file,
            read_options=pa_csv.ReadOptions(column_names=places, use_threads=False, block_size=_BLOCK_BYTES),
            parse_options=pa_csv.ParseOptions(
                delimiter=self._dialect.delimiter,
                quote_char=self._dialect.quote or False,
                escape_char=self._escape or False,
                newlines_in_values=self._dialect.quote is not None,
                invalid_row_handler=note,
            ),
            convert_options=pa_csv.ConvertOptions(
                column_types=dict.fromkeys(places, pa.string()), strings_can_be_null=False
            ),
        )

    def _explain(self, error: pa.ArrowInvalid, bad: list[pa_csv.InvalidRow]) -> TableError:
        if not bad:
            if "straddling" in str(error):
                return TableError("A row is longer than 8 MiB: a quote that never closes?", "row_too_long")
            return TableError(f"The file can't be read as delimited text: {error}.", "unreadable_table")
        row = bad[0]
        number = "A row" if row.number is None else f"Row {row.number + (self._dialect.names is not None):,}"
        return TableError(
            f"{number} has {row.actual_columns} values where {row.expected_columns} are expected (delimiter "
            f"{self._dialect.delimiter!r}): {str(row.text)[:120]!r}. Quote values that contain the delimiter.",
            "ragged_rows",
        )


class ParquetReader:
    """Parquet, a slice of a row group at a time."""

    format = "parquet"
    comma_is_decimal = False

    def __init__(self, path: Path, limits: ReadLimits) -> None:
        self._path = path
        self.declared: dict[int, str] = {}
        with _arrow_errors("Parquet"), pq.ParquetFile(path) as file:
            self.names = list(file.schema_arrow.names)
            _check_claims(file.metadata, path.stat().st_size, limits)

    def batches(self) -> Iterator[pa.RecordBatch]:
        """All rows.

        Raises:
            TableError: damaged_file.
        """
        with _arrow_errors("Parquet"), pq.ParquetFile(self._path) as file:
            rows = max(1, min(BATCH_ROWS, 8_000_000 // max(1, len(self.names))))
            for batch in file.iter_batches(batch_size=rows, use_threads=False):
                batch.validate(full=True)
                yield batch


def _check_claims(metadata: Any, file_bytes: int, limits: ReadLimits) -> None:
    """Before anything is decoded: what the file says it holds.

    Raises:
        TableError: too_many_rows, too_large, compression_ratio.
    """
    if metadata.num_rows > limits.max_rows:
        raise too_many_rows(limits)
    claimed = sum(max(0, metadata.row_group(group).total_byte_size) for group in range(metadata.num_row_groups))
    if claimed > limits.max_bytes:
        raise TableError(f"The Parquet file claims {claimed:,} bytes of data, over the limit.", "too_large")
    if claimed > max(_CLAIM_FREE_BYTES, file_bytes * _CLAIM_RATIO):
        raise TableError(
            f"The Parquet file has {file_bytes:,} bytes and claims {claimed:,} bytes of data.", "compression_ratio"
        )


def too_many_rows(limits: ReadLimits) -> TableError:
    """The error for a table that is too long."""
    return TableError(f"The table has more than {limits.max_rows:,} rows. Send a sample.", "too_many_rows")


class ArrowReader:
    """Arrow IPC: the file format (Feather version 2) and the stream format."""

    format = "arrow"
    comma_is_decimal = False

    def __init__(self, path: Path, *, is_stream: bool) -> None:
        self._path, self._is_stream = path, is_stream
        self.declared: dict[int, str] = {}
        with _arrow_errors("Arrow"), pa.OSFile(str(path)) as file:
            opened = pa.ipc.open_stream(file) if is_stream else pa.ipc.open_file(file)
            self.names = list(opened.schema.names)

    def batches(self) -> Iterator[pa.RecordBatch]:
        """All rows; every buffer is validated, since the bytes are a stranger's.

        Raises:
            TableError: damaged_file.
        """
        with _arrow_errors("Arrow"), pa.OSFile(str(self._path)) as file:
            for batch in self._raw(file):
                batch.validate(full=True)
                for start in range(0, batch.num_rows, BATCH_ROWS):
                    yield batch.slice(start, BATCH_ROWS)

    def _raw(self, file: pa.NativeFile) -> Iterator[pa.RecordBatch]:
        if self._is_stream:
            yield from pa.ipc.open_stream(file)
            return
        opened = pa.ipc.open_file(file)
        for place in range(opened.num_record_batches):
            yield opened.get_batch(place)


class _arrow_errors:  # noqa: N801 - reads as a function
    """What Arrow raises on a damaged file, as a TableError."""

    def __init__(self, what: str) -> None:
        self._what = what

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, pa.ArrowMemoryError):
            raise TableError(f"The {self._what} file claims more than fits in memory.", "out_of_memory") from error
        if isinstance(error, pa.ArrowException | OSError | UnicodeDecodeError) and not _is_full(error):
            raise TableError(f"The {self._what} file is damaged: {str(error)[:200]}", "damaged_file") from error


def _is_full(error: BaseException) -> bool:
    return isinstance(error, OSError) and error.errno is not None and error.errno in (27, 28, 122)
