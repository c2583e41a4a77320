"""The body of an upload to a temporary file, chunk by chunk: raw, or one file part of a multipart form.

Never more than a megabyte of it is in memory. What is too large, idle or too slow is cut.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING

from anyio.to_thread import run_sync
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import ClientDisconnect, Request

from app.errors import InvalidRequest, TooLarge, UploadCut
from app.settings import Settings

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

_BUFFER = 1 << 20
_RATE_WINDOW_S = 60.0


@dataclass(frozen=True, kw_only=True)
class Upload:
    """A received file."""

    path: Path
    sha256: str  #: hex
    bytes: int
    filename: str | None  #: as sent, for display and for guessing the format; never a path


async def receive(request: Request, target: Path, settings: Settings) -> Upload:
    """Write the file in a request's body to `target`.

    Raises:
        TooLarge: over `upload_max_bytes`.
        UploadCut: idle or too slow, or the client went away.
        InvalidRequest: a multipart body that is broken or holds anything but one file.
    """
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > settings.upload_max_bytes + _BUFFER:
        raise _too_large(settings)
    kind, options = parse_options_header(request.headers.get("content-type"))
    with target.open("xb") as file:
        sink = _Sink(file, settings.upload_max_bytes)
        chunks = _paced_chunks(request, settings)
        if kind == b"multipart/form-data":
            filename = await _receive_form(chunks, sink, options.get(b"boundary", b""))
        else:
            filename = _filename(request.headers.get("content-disposition"))
            async for chunk in chunks:
                await sink.add(chunk)
        await sink.flush()
    return Upload(path=target, sha256=sink.digest.hexdigest(), bytes=sink.size, filename=filename)


class _Sink:
    """Buffers to whole megabytes, which a thread hashes and writes, so that the event loop never waits for a disk."""

    def __init__(self, file: IO[bytes], limit: int) -> None:
        self._file, self._limit = file, limit
        self._buffer = bytearray()
        self.digest = hashlib.sha256()
        self.size = 0

    async def add(self, chunk: bytes) -> None:
        self._buffer += chunk
        self.size += len(chunk)
        if self.size > self._limit:
            raise TooLarge(f"The upload is over its limit of {self._limit:,} bytes.")
        if len(self._buffer) >= _BUFFER:
            await self.flush()

    async def flush(self) -> None:
        data, self._buffer = bytes(self._buffer), bytearray()
        if data:
            await run_sync(self._write, data)

    def _write(self, data: bytes) -> None:
        self.digest.update(data)
        self._file.write(data)
        self._file.flush()


async def _paced_chunks(request: Request, settings: Settings) -> AsyncIterator[bytes]:
    """The body's chunks, as long as they keep coming fast enough."""
    stream = aiter(request.stream())
    pace = _Pace(settings.upload_min_bytes_per_s)
    while True:
        try:
            async with asyncio.timeout(settings.upload_idle_s):
                chunk = await anext(stream, None)
        except TimeoutError as error:
            raise UploadCut(f"Nothing came for {settings.upload_idle_s:g} s.") from error
        except ClientDisconnect as error:
            raise UploadCut("The connection was closed before the whole body had come.") from error
        if chunk is None:
            return
        pace.note(len(chunk))
        yield chunk


class _Pace:
    """Cuts whoever sends less than so many bytes a second over a minute."""

    def __init__(self, minimum: int) -> None:
        self._minimum = minimum
        self._started, self._bytes = time.monotonic(), 0

    def note(self, count: int) -> None:
        self._bytes += count
        elapsed = time.monotonic() - self._started
        if elapsed < _RATE_WINDOW_S:
            return
        if self._bytes < self._minimum * elapsed:
            raise UploadCut(f"Less than {self._minimum:,} bytes a second came over the last minute.")
        self._started, self._bytes = time.monotonic(), 0


async def _receive_form(chunks: AsyncIterator[bytes], sink: _Sink, boundary: bytes) -> str | None:
    if not boundary:
        raise InvalidRequest("The multipart Content-Type has no boundary.")
    form = _OneFile()
    try:
        parser = MultipartParser(boundary, form.callbacks())
        async for chunk in chunks:
            parser.write(chunk)
            for part in form.take():
                await sink.add(part)
        parser.finalize()
    except FormParserError as error:
        raise InvalidRequest(f"The multipart body is broken: {error}.") from error
    if not form.is_complete:
        raise InvalidRequest("The multipart body holds no file part, or ends before its last boundary.")
    return form.filename


class _OneFile:
    """Callbacks of the multipart parser that accept one file part and nothing else."""

    def __init__(self) -> None:
        self.filename: str | None = None
        self.is_complete = False
        self._parts = 0
        self._field = self._value = b""
        self._data: list[bytes] = []
        self._ended = False

    def callbacks(self) -> MultipartCallbacks:
        """For the parser."""
        return {
            "on_part_begin": self._begin,
            "on_header_field": self._header_field,
            "on_header_value": self._header_value,
            "on_header_end": self._header_end,
            "on_headers_finished": self._headers_finished,
            "on_part_data": self._part_data,
            "on_part_end": self._part_end,
            "on_end": self._end,
        }

    def take(self) -> list[bytes]:
        """What came since the last call."""
        data, self._data = self._data, []
        return data

    def _begin(self) -> None:
        self._parts += 1
        if self._parts > 1:
            raise InvalidRequest("Send one file part and nothing else; options go into the query.")

    def _header_field(self, data: bytes, start: int, end: int) -> None:
        self._field += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _header_end(self) -> None:
        if self._field.lower() == b"content-disposition":
            self.filename = _filename(self._value)
        self._field = self._value = b""

    def _headers_finished(self) -> None:
        if self.filename is None:
            raise InvalidRequest("The form's part is no file: it has no filename.")

    def _part_data(self, data: bytes, start: int, end: int) -> None:
        self._data.append(data[start:end])

    def _part_end(self) -> None:
        self._ended = True

    def _end(self) -> None:
        self.is_complete = self._ended


def _filename(disposition: str | bytes | None) -> str | None:
    """The last component of a Content-Disposition's file name, printable, at most 200 characters long."""
    _, options = parse_options_header(disposition)
    if (raw := options.get(b"filename")) is None:
        return None
    name = PurePosixPath(raw.decode("utf-8", "replace").replace("\\", "/")).name
    return "".join(character for character in name if character.isprintable())[:200] or "upload"


def _too_large(settings: Settings) -> TooLarge:
    return TooLarge(f"The upload is over its limit of {settings.upload_max_bytes:,} bytes.")
