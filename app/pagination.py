"""Pages by cursor: `{"items": […], "next_cursor": "…" or null}`. A cursor is opaque and made by us."""

from __future__ import annotations

import binascii
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Generic, TypeVar
from uuid import UUID

from fastapi import Depends, Query
from pydantic import BaseModel, Field

from app.dependencies import SettingsDep
from app.errors import InvalidRequest

Item = TypeVar("Item")
Row = TypeVar("Row")


class Page(BaseModel, Generic[Item]):
    """One page of a list."""

    items: list[Item]
    next_cursor: str | None = Field(None, description="Pass as `cursor` to get the next page; null: this is the last.")


@dataclass(frozen=True, kw_only=True)
class PageRequest:
    """The page that a client asks for."""

    limit: int
    cursor: str | None  #: decoded: the last page's last key

    def after_id(self) -> UUID | None:
        """The last page's last id."""
        return self._parse(UUID)

    def after_number(self) -> int | None:
        """The last page's last number."""
        return self._parse(int)

    def _parse(self, kind: Callable[[str], Row]) -> Row | None:
        if self.cursor is None:
            return None
        try:
            return kind(self.cursor)
        except ValueError as error:
            raise _bad_cursor() from error


async def get_page_request(
    settings: SettingsDep,
    limit: Annotated[int | None, Query(ge=1, description="Items a page; larger than allowed is made smaller.")] = None,
    cursor: Annotated[str | None, Query(max_length=200, description="`next_cursor` of the page before.")] = None,
) -> PageRequest:
    """The page asked for.

    Raises:
        InvalidRequest: the cursor is not one of ours.
    """
    size = min(limit or settings.page_size, settings.page_size_max)
    return PageRequest(limit=size, cursor=None if not cursor else _decode(cursor))


PageDep = Annotated[PageRequest, Depends(get_page_request)]


def make_page(
    rows: Sequence[Row], request: PageRequest, key: Callable[[Row], object], read: Callable[[Row], Item]
) -> Page[Item]:
    """A page of rows that were selected with one more than the limit, to see whether another page follows."""
    shown = rows[: request.limit]
    more = len(rows) > request.limit
    return Page(items=[read(row) for row in shown], next_cursor=_encode(str(key(shown[-1]))) if more else None)


def _encode(key: str) -> str:
    return urlsafe_b64encode(key.encode()).decode().rstrip("=")


def _decode(cursor: str) -> str:
    try:
        return urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode()
    except (binascii.Error, ValueError) as error:
        raise _bad_cursor() from error


def _bad_cursor() -> InvalidRequest:
    detail = "Not a cursor of this list; pass next_cursor of the page before."
    return InvalidRequest(detail, errors=[{"parameter": "cursor", "detail": detail}])
