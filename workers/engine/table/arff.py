"""ARFF: a header that declares the columns, then delimited text. Dense files only."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from ..errors import TableError
from .dialect import Dialect
from .readers import CsvReader

_LINE_MAX = 8 << 20
_HEADER_MAX = 32 << 20
_SAMPLE = 1 << 16
_KINDS = {"numeric": None, "real": None, "integer": None, "date": None, "string": "string"}


@dataclass
class _Header:
    names: list[str] = field(default_factory=list)
    declared: dict[int, str] = field(default_factory=dict)
    offset: int = 0  #: byte after the @data line


class ArffReader(CsvReader):
    """The body of an ARFF file, with names and kinds from its header."""

    format = "arff"


def open_arff(path: Path, work: Path) -> ArffReader:
    """The reader for an ARFF file; its body goes to a file in `work`.

    Raises:
        TableError: bad_arff.
    """
    header = _read_header(path)
    body = _without_comments(path, header.offset, work / "body")
    with body.open(encoding="utf-8", errors="replace", newline="") as file:
        sample = file.read(_SAMPLE)
    first = sample.lstrip().split("\n", 1)[0]
    if first.startswith("{"):
        raise TableError("Sparse ARFF is not supported. Write it dense, or as Parquet.", "bad_arff")
    quote = _quote(sample)
    dialect = Dialect(
        delimiter="\t" if "\t" in first and "," not in first else ",",
        quote=quote,
        names=header.names,
        width=len(header.names),
        offset=0,
    )
    reader = ArffReader(body, dialect, escape="\\" if quote and "\\" in sample else None)
    reader.declared = header.declared
    return reader


def _read_header(path: Path) -> _Header:
    header = _Header()
    with path.open("rb") as file:
        while line := file.readline(_LINE_MAX):
            text = line.decode("utf-8", "replace").strip()
            word = text.split(None, 1)[0].lower() if text else ""
            if word == "@data":
                header.offset = file.tell()
                if not header.names:
                    raise TableError("The ARFF header declares no attribute.", "bad_arff")
                return header
            if word == "@attribute":
                _add_attribute(header, text[len(word) :].strip())
            if file.tell() > _HEADER_MAX:
                break
    raise TableError("The ARFF file has no @data line.", "bad_arff")


def _add_attribute(header: _Header, rest: str) -> None:
    name, type_ = _split_name(rest)
    if type_.startswith("{"):
        header.declared[len(header.names)] = "category"
    else:
        word = type_.split(None, 1)[0].lower() if type_ else ""
        if word not in _KINDS:
            raise TableError(f"The ARFF attribute {name[:100]!r} has the unknown type {type_[:40]!r}.", "bad_arff")
        if kind := _KINDS[word]:
            header.declared[len(header.names)] = kind
    header.names.append(name)


def _split_name(rest: str) -> tuple[str, str]:
    """Name and type of an attribute; the name may be quoted."""
    if rest[:1] not in ("'", '"'):
        name, _, type_ = rest.replace("\t", " ").replace("{", " {", 1).partition(" ")
        return name, type_.strip()
    name, quote, place = "", rest[0], 1
    while place < len(rest) and rest[place] != quote:
        place += rest[place] == "\\"
        name += rest[place : place + 1]
        place += 1
    return name, rest[place + 1 :].strip()


def _without_comments(path: Path, offset: int, body: Path) -> Path:
    """The body alone: Arrow knows no comments."""
    with path.open("rb") as source, body.open("wb") as target:
        source.seek(offset)
        target.writelines(line for line in _lines(source) if not line.lstrip().startswith(b"%"))
    return body


def _lines(file: IO[bytes]) -> Iterator[bytes]:
    while line := file.readline(_LINE_MAX):
        yield line


def _quote(sample: str) -> str | None:
    starts = {quote: sum(sample.count(before + quote) for before in (",", "\n", "\t", ", ")) for quote in ("'", '"')}
    starts = {quote: count + sample.startswith(quote) for quote, count in starts.items()}
    best = max(starts, key=lambda quote: starts[quote])
    return best if starts[best] else None
