"""How the tests of the page ask it, and how they read what it answers."""

from __future__ import annotations

import io
from html.parser import HTMLParser
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flask.testing import FlaskClient
    from werkzeug.test import TestResponse


AS_JSON = {"Accept": "application/json"}
POLICY = "default-src 'none'; style-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"


def send(client: FlaskClient, content: bytes, *, headers: dict[str, str] | None = None) -> TestResponse:
    return client.post("/", data={"bundle": (io.BytesIO(content), "upload.zip")}, headers=headers)


class Page(HTMLParser):
    """Collects the elements of a page and complains about what must not be in it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]
