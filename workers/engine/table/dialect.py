"""What a delimited text looks like inside: delimiter, quote and header, guessed from at most 64 KiB.

Own and linear: the standard library's Sniffer takes minutes on hostile samples.
"""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from ..errors import TableError
from .tokens import MISSING, MISSING_NUMBER

_SAMPLE = 1 << 16
_HEADER_MAX = 8 << 20  # characters of the first record
_ROWS = 200
_NUMBER = re.compile(r"[+-]?(\d+([.,]\d*)*|\.\d+)([eE][+-]?\d+)?%?")
_DATE = re.compile(r"\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}([T ].*)?")


@dataclass(frozen=True, kw_only=True)
class Dialect:
    """How to read a delimited file."""

    delimiter: str
    quote: str | None  #: None: nothing is quoted
    names: list[str] | None  #: of the header row; None: there is none
    width: int  #: values in a row
    offset: int  #: byte at which the first data row starts


def guess_dialect(path: Path, *, filename: str = "", header: bool | None = None) -> Dialect:
    """Guess from the first rows of a UTF-8 file. A tie goes to the file name's ending, then to the comma.

    Raises:
        TableError: row_too_long, if the first record does not end within 8 MiB.
    """
    with path.open(encoding="utf-8", newline="") as file:
        sample = file.read(_SAMPLE)
    is_whole = path.stat().st_size <= len(sample.encode())
    delimiter, quote = _best_format(sample if is_whole else _whole_lines(sample), filename)
    first, offset = _first_record(path, delimiter, quote)
    rows = [row for row in _parse(sample, delimiter, quote)[: _ROWS + 1] if row]
    body = [row for row in rows[1:] if len(row) == len(first)]
    has_header = _has_header(first, body) if header is None else header
    if not has_header:
        offset = 0
    return Dialect(
        delimiter=delimiter, quote=quote, names=first if has_header else None, width=len(first), offset=offset
    )


def _whole_lines(sample: str) -> str:
    """Without the last line, which is cut; all of it if there is only one."""
    end = max(sample.rfind("\n"), sample.rfind("\r"))
    return sample[: end + 1] if end > 0 else sample


def _best_format(sample: str, filename: str) -> tuple[str, str | None]:
    delimiters = [",", ";", "\t", "|"]
    if filename.endswith((".tsv", ".tab")):
        delimiters.insert(0, delimiters.pop(2))
    quotes: list[str | None] = [quote for quote in ('"', "'") if _is_quote(sample, quote)]
    quotes = quotes or [None if '"' in sample else '"']  # values may be quoted after what was looked at
    scored = [
        (_score(_parse(sample, delimiter, quote)[:_ROWS]), -place, delimiter, quote)
        for place, (delimiter, quote) in enumerate((d, q) for q in quotes for d in delimiters)
    ]
    _, _, delimiter, quote = max(scored, key=lambda entry: entry[:2])
    return delimiter, quote


def _is_quote(sample: str, quote: str) -> bool:
    """Whether some value begins with it; for the apostrophe, whether it also ends one about as often."""
    opened = sum(sample.count(before + quote) for before in (",", ";", "\t", "|", "\n")) + sample.startswith(quote)
    closed = sum(sample.count(quote + after) for after in (",", ";", "\t", "|", "\n", "\r"))
    return opened > 0 if quote == '"' else opened > 1 and 0.5 < closed / opened < 2


def _score(rows: list[list[str]]) -> float:
    """How table-like: the share of rows of the commonest width (if it is at least two), then of values not words."""
    widths = Counter(len(row) for row in rows if row)
    if not widths:
        return 0.0
    width, count = widths.most_common(1)[0]
    share = count / sum(widths.values())
    if width == 1:
        return 0.5 * share
    values = [value for row in rows[:50] for value in row[:50]]
    return share + 0.2 * sum(_kind(value) != "word" for value in values) / len(values) + min(width, 20) / 1000


def _parse(text: str, delimiter: str, quote: str | None) -> list[list[str]]:
    csv.field_size_limit(_HEADER_MAX)
    options = {"quotechar": quote} if quote else {"quoting": csv.QUOTE_NONE}
    try:
        return list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, **options))
    except csv.Error:
        return []


def _first_record(path: Path, delimiter: str, quote: str | None) -> tuple[list[str], int]:
    """The first row with anything in it, and the byte after it. A quoted value may hold line ends."""
    record, consumed = "", 0
    with path.open(encoding="utf-8", newline="") as file:
        while line := file.readline(_HEADER_MAX):
            consumed += len(line.encode())
            record += line
            if len(record) >= _HEADER_MAX:
                raise TableError("The first row is longer than 8 MiB: is this a table?", "row_too_long")
            if not record.strip("\r\n"):
                record = ""
                continue
            if quote is None or record.count(quote) % 2 == 0 or not _is_open(record, delimiter, quote):
                break
    rows = _parse(record, delimiter, quote)
    return (rows[0] if rows else [record]), consumed


def _is_open(record: str, delimiter: str, quote: str) -> bool:
    """Whether the record ends inside a quoted value."""
    state = "start"
    for character in record:
        if state == "quoted":
            state = "closing" if character == quote else "quoted"
        elif character == quote and state in ("start", "closing"):
            state = "quoted"
        else:
            state = "start" if character == delimiter or character in "\r\n" else "plain"
    return state == "quoted"


def _has_header(first: list[str], body: list[list[str]]) -> bool:
    """Columns vote: a word above numbers, or never seen again where others are, says header.

    A number above numbers, or a word seen again, says none.
    """
    if not body:
        return not any(_kind(value) == "number" for value in first)
    votes = 0
    for place, value in enumerate(first):
        column = [row[place] for row in body]
        kinds = Counter(_kind(entry) for entry in column)
        kinds.pop("missing", None)
        kind, count = kinds.most_common(1)[0] if kinds else ("missing", 0)
        if kind in ("number", "date") and count >= 0.9 * kinds.total():
            votes += 1 if _kind(value) == "word" else -1 if _kind(value) == kind else 0
        elif kind == "word" and _kind(value) != "missing":
            levels = {entry.strip() for entry in column}
            votes += -1 if value.strip() in levels else 1 if 2 * len(levels) <= len(column) else 0
    return votes >= 0


def _kind(value: str) -> str:
    value = value.strip()
    if value in MISSING or value in MISSING_NUMBER:
        return "missing"
    if _NUMBER.fullmatch(value):
        return "number"
    return "date" if _DATE.fullmatch(value) else "word"
