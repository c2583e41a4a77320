"""From an upload to a plain file of a known format: decompression with caps, then format by content, then UTF-8."""

from __future__ import annotations

import codecs
import gzip
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Protocol

from ..errors import TableError
from .read import ReadLimits

_CHUNK = 1 << 20
_SAMPLE = 1 << 16
_FREE_BYTES = 16 << 20  # a ratio means nothing on tiny files
_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"

#: What people send by mistake, by its first bytes.
_FOREIGN = {
    b"PK\x03\x04": "a zip archive or an Excel workbook; export the sheet as CSV, or compress with gzip",
    b"\xd0\xcf\x11\xe0": "an old Excel workbook; export the sheet as CSV",
    b"BZh": "bzip2; compress with gzip or zstd",
    b"\xfd7zXZ": "xz; compress with gzip or zstd",
    b"7z\xbc\xaf": "a 7-Zip archive; compress with gzip or zstd",
    b"%PDF": "a PDF document",
    b"SQLite format 3": "an SQLite database; export a table as CSV",
    b"\x89HDF": "an HDF5 file; export it as Parquet or CSV",
    b"\x89PNG": "a picture",
    b"\xff\xd8\xff": "a picture",
    b"ORC": "an ORC file; export it as Parquet",
    b"Obj\x01": "an Avro file; export it as Parquet",
    b"\x80\x04\x95": "a Python pickle, which is never loaded; export it as Parquet or CSV",
    b"FEA1": "Feather version 1; write it as Feather version 2",
}


@dataclass(frozen=True, kw_only=True)
class Plain:
    """A decompressed file. Text formats are UTF-8 without a byte order mark."""

    path: Path
    format: str  #: csv, parquet, arrow, arrow_stream, jsonl, arff
    filename: str  #: lower case, without the ending of the compression


def open_source(source: Path, work: Path, limits: ReadLimits, filename: str | None) -> Plain:
    """Decompress into `work` where needed, find the format, make text UTF-8.

    Raises:
        TableError: empty_file, too_large, compression_ratio, damaged_file, unknown_format, wrong_encoding, nul_bytes.
    """
    name = PurePosixPath((filename or "").lower()).name
    if source.stat().st_size == 0:
        raise TableError("The file is empty.", "empty_file")
    path = _decompress(source, work, limits)
    if path != source:
        name = name.removesuffix(".gz").removesuffix(".gzip").removesuffix(".zst").removesuffix(".zstd")
    if path.stat().st_size > limits.max_bytes:
        raise _too_large(limits)
    binary = _binary_format(path)
    if binary is not None:
        return Plain(path=path, format=binary, filename=name)
    path = _as_utf8(path, work)
    return Plain(path=path, format=_text_format(path), filename=name)


# --- compression


class _Inflater(Protocol):
    def read(self, size: int) -> bytes: ...


def _decompress(source: Path, work: Path, limits: ReadLimits) -> Path:
    with source.open("rb") as file:
        magic = file.read(4)
        file.seek(0)
        if magic.startswith(_GZIP):
            return _inflate(gzip.GzipFile(fileobj=file), source, work / "inflated", limits)
        if magic == _ZSTD:
            import zstandard

            reader = zstandard.ZstdDecompressor(max_window_size=128 << 20).stream_reader(file, read_across_frames=True)
            return _inflate(reader, source, work / "inflated", limits)
    return source


def _inflate(reader: _Inflater, source: Path, target: Path, limits: ReadLimits) -> Path:
    allowed = max(_FREE_BYTES, int(source.stat().st_size * limits.max_ratio))
    size = 0
    with target.open("wb") as out:
        for chunk in _chunks(reader):
            size += len(chunk)
            if size > limits.max_bytes:
                raise _too_large(limits)
            if size > allowed:
                raise TableError(
                    f"The file decompresses to more than {limits.max_ratio:g} times its size. Send it uncompressed.",
                    "compression_ratio",
                )
            out.write(chunk)
    if size == 0:
        raise TableError("The compressed file is empty.", "empty_file")
    if target.open("rb").read(4).startswith((_GZIP, _ZSTD)):
        raise TableError("The file is compressed twice. Compress it once.", "unknown_format")
    return target


def _chunks(reader: _Inflater) -> Iterator[bytes]:
    from zstandard import ZstdError

    try:
        while chunk := reader.read(_CHUNK):
            yield chunk
    except (EOFError, zlib.error, gzip.BadGzipFile, ZstdError) as error:
        raise TableError(f"The compressed file is damaged or cut short: {error}.", "damaged_file") from error


def _too_large(limits: ReadLimits) -> TableError:
    return TableError(f"The table is larger than {limits.max_bytes:,} bytes uncompressed.", "too_large")


# --- format


def _binary_format(path: Path) -> str | None:
    with path.open("rb") as file:
        head = file.read(16)
    if head.startswith(b"PAR1"):
        return "parquet"
    if head.startswith(b"ARROW1"):
        return "arrow"
    if head.startswith(b"\xff\xff\xff\xff") and len(head) > 8:
        return "arrow_stream"
    for magic, what in _FOREIGN.items():
        if head.startswith(magic):
            raise TableError(f"This is {what}. Readable are {_READABLE}.", "unknown_format")
    return None


_READABLE = "CSV, TSV, Parquet, Arrow/Feather, JSON lines and ARFF, plain or compressed with gzip or zstd"


def _text_format(path: Path) -> str:
    with path.open(encoding="utf-8", errors="replace") as file:
        text = file.read(_SAMPLE)
    lines = (line.strip() for line in text.splitlines())
    first = next((line for line in lines if line and not line.startswith("%")), "")
    if not text.strip():
        raise TableError("The file holds nothing but white space.", "empty_file")
    if first.lower().startswith(("@relation", "@attribute")):
        return "arff"
    if first.startswith("{"):
        return "jsonl"
    if first.startswith(("[{", "[")) and text.lstrip().startswith("[") and _looks_like_json_array(text):
        raise TableError("This is a JSON array. Send JSON lines: one object a line, no brackets around.", "json_array")
    if first.lower().startswith(("<!doctype", "<html", "<?xml")):
        raise TableError(f"This is HTML or XML. Readable are {_READABLE}.", "unknown_format")
    return "csv"


def _looks_like_json_array(text: str) -> bool:
    return text.lstrip()[1:].lstrip()[:1] in ("{", "[", "]")


# --- encoding


def _as_utf8(path: Path, work: Path) -> Path:
    """The same text as UTF-8 without mark; the same path if it is that already."""
    encoding = _encoding(path)
    if encoding == "utf-8":
        return path
    target = work / "text"
    decoder = codecs.getincrementaldecoder(encoding)()
    with path.open("rb") as source, target.open("w", encoding="utf-8", newline="") as out:
        try:
            for chunk in iter(lambda: source.read(_CHUNK), b""):
                out.write(_without_nul(decoder.decode(chunk)))
            out.write(decoder.decode(b"", True))
        except UnicodeError as error:
            raise TableError(
                f"The text is not valid {encoding}: {error}. Send it as UTF-8.", "wrong_encoding"
            ) from error
    return target


def _encoding(path: Path) -> str:
    with path.open("rb") as file:
        head = file.read(_SAMPLE)
        file.seek(0)
        if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            return "utf-16"
        if (guess := _utf16_without_mark(head)) is not None:
            return guess
        has_mark = head.startswith(codecs.BOM_UTF8)
        legacy = _scan(file)
    if legacy is not None:
        return legacy
    return "utf-8-sig" if has_mark else "utf-8"


def _utf16_without_mark(head: bytes) -> str | None:
    """Latin text in UTF-16 has a NUL in nearly every second byte."""
    if len(head) < 4:
        return None
    even, odd = head[0::2].count(0) / len(head[0::2]), head[1::2].count(0) / len(head[1::2])
    if odd > 0.7 and even < 0.05:
        return "utf-16-le"
    if even > 0.7 and odd < 0.05:
        return "utf-16-be"
    return None


def _scan(file: IO[bytes]) -> str | None:
    """Read all of it: None if it is UTF-8, else the legacy encoding.

    Raises:
        TableError: nul_bytes; wrong_encoding for what begins as UTF-8; unknown_format for what is no text at all.
    """
    decoder = codecs.getincrementaldecoder("utf-8")()
    offset, seen_letters = 0, False
    for chunk in iter(lambda: file.read(_CHUNK), b""):
        _refuse_nul(chunk, offset)
        try:
            seen_letters |= not decoder.decode(chunk).isascii()
        except UnicodeDecodeError as error:
            if seen_letters or not chunk[: error.start].isascii():
                raise _broken_utf8(offset + error.start) from error
            return _legacy(chunk, file, offset)
        offset += len(chunk)
    if decoder.getstate()[0]:  # ends within a character
        if seen_letters:
            raise _broken_utf8(offset)
        return "cp1252"
    return None


def _broken_utf8(offset: int) -> TableError:
    return TableError(
        f"The text is UTF-8 at first, but not at byte {offset + 1:,}: encodings are mixed, or the file is cut short.",
        "wrong_encoding",
    )


def _legacy(chunk: bytes, file: IO[bytes], offset: int) -> str:
    seen: set[int] = set()
    while chunk:
        _refuse_nul(chunk, offset)
        seen |= set(chunk)
        offset += len(chunk)
        chunk = file.read(_CHUNK)
    if seen & (set(range(32)) - set(b"\t\n\v\f\r\x1a\x1b")):
        raise TableError(f"This is binary data of an unknown format. Readable are {_READABLE}.", "unknown_format")
    return "latin-1" if seen & {0x81, 0x8D, 0x8F, 0x90, 0x9D} else "cp1252"


def _refuse_nul(chunk: bytes, offset: int) -> None:
    place = chunk.find(b"\0")
    if place >= 0:
        raise TableError(
            f"Byte {offset + place + 1:,} is NUL: the file is binary or damaged. Readable are {_READABLE}.", "nul_bytes"
        )


def _without_nul(text: str) -> str:
    if "\0" in text:
        raise TableError("The text contains NUL characters: the file is binary or damaged.", "nul_bytes")
    return text
