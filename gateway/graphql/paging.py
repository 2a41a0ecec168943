"""Relay-style connections over the pages of the services.

Every edge has a cursor that works as `after`, and nothing is remembered for it: it names the page the item was on (the
service's cursor and the size) and the item itself. The page is asked for again and gone through to the item, on the
pages that follow if newer items have moved it there. The cursor of a page's last item is the service's own.
"""

import base64
import binascii
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import orjson

from gateway.graphql.asking import Conversation
from gateway.graphql.operations import Operation
from gateway.problems import Code, Problem
from gateway.rest.models import MAX_PAGE
from gateway.values import Anchor, Page

MAX_CURSOR_CHARACTERS = 2_048
# An item that newer ones moved further than this is not looked for any more.
MAX_PAGES = 4
_DIGEST_BYTES = 12
# Everything else is told apart by its first field.
_IDENTITY: Mapping[type, tuple[str, ...]] = {Anchor: ("sequence", "backend", "authority")}


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """Behind an item of a page, or, without `item`, at the beginning of it."""

    cursor: str | None
    size: int
    item: str | None

    def text(self) -> str:
        """As it is given out."""
        return base64.urlsafe_b64encode(orjson.dumps([self.cursor, self.size, self.item])).decode().rstrip("=")

    @classmethod
    def read(cls, text: str) -> "Place":
        """The place a cursor names. Raises Problem (INVALID_REQUEST)."""
        try:
            padded = text.encode("ascii") + b"=" * (-len(text) % 4)
            cursor, size, item = orjson.loads(base64.b64decode(padded, b"-_", validate=True))
        except (ValueError, TypeError, binascii.Error):
            raise _unknown() from None
        sound = (
            isinstance(cursor, str | None)
            and isinstance(item, str | None)
            and isinstance(size, int)
            and size is not True
        )
        if not sound or len(text) > MAX_CURSOR_CHARACTERS:
            raise _unknown()
        return cls(cursor=cursor, size=size, item=item)


@dataclass(frozen=True, kw_only=True, slots=True)
class Edge:
    """As `types.Edge`."""

    cursor: str
    node: Any


@dataclass(frozen=True, kw_only=True, slots=True)
class PageInfo:
    """As `types.PageInfo`."""

    has_next_page: bool
    has_previous_page: bool
    start_cursor: str | None
    end_cursor: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Connection:
    """As `types.Connection`."""

    edges: Sequence[Edge]
    page_info: PageInfo


async def connect(conversation: Conversation, operation: Operation, given: Mapping[str, Any]) -> Connection:
    """At most `first` items behind `after`, of an operation that answers with pages. Raises Problem."""
    first, after = given["first"], given.get("after")
    if not 1 <= first <= MAX_PAGE:
        raise Problem(Code.INVALID_REQUEST, f"first: it must be from 1 to {MAX_PAGE:,}.", field="first")
    place = Place(cursor=None, size=first, item=None) if after is None else Place.read(after)
    rest: tuple[Any, ...] = ()
    found = False
    for _ in range(MAX_PAGES):
        if place.item is None:
            # From the beginning of a page on, pages may have any size.
            place = Place(cursor=place.cursor, size=first, item=None)
        asked = {**given, "first": place.size, "after": place.cursor}
        page: Page[Any] = await conversation.ask(operation, asked)
        names = [_name(item) for item in page.items]
        found = place.item is None or place.item in names
        rest = page.items[0 if place.item is None else names.index(place.item) + 1 :] if found else ()
        if rest or page.next_cursor is None:
            break
        # Behind an item that was found is the beginning of the next page.
        place = Place(cursor=page.next_cursor, size=place.size, item=None if found else place.item)
    if not found:
        raise _unknown()
    edges, end, more = _edges(page, place, rest, first)
    start = edges[0].cursor if edges else None
    where = PageInfo(has_next_page=more, has_previous_page=after is not None, start_cursor=start, end_cursor=end)
    return Connection(edges=edges, page_info=where)


def _edges(page: Page[Any], place: Place, rest: Sequence[Any], first: int) -> tuple[list[Edge], str | None, bool]:
    """What is left of a page, where it ends, and whether there is more."""
    edges = [
        Edge(cursor=Place(cursor=place.cursor, size=place.size, item=_name(item)).text(), node=item)
        for item in rest[:first]
    ]
    if len(rest) > first:
        return edges, edges[-1].cursor, True
    if page.next_cursor is None:
        return edges, edges[-1].cursor if edges else None, False
    end = Place(cursor=page.next_cursor, size=place.size, item=None).text()
    if edges:
        edges[-1] = Edge(cursor=end, node=edges[-1].node)
    return edges, end, True


def _name(item: Any) -> str:
    """What tells an item of a list from all others."""
    names = _IDENTITY.get(type(item)) or (fields(item)[0].name,)
    told = orjson.dumps([getattr(item, name) for name in names])
    return base64.urlsafe_b64encode(hashlib.sha256(told).digest()[:_DIGEST_BYTES]).decode()


def _unknown() -> Problem:
    return Problem(
        Code.INVALID_REQUEST,
        "The cursor is none of this list, or its item is not in the list any more. Leave it out to begin anew.",
        field="after",
    )
