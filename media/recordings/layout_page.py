"""The page that LiveKit's room composite egress opens and films (`layout/`), as a WSGI application.

It holds no secrets and reads nothing of a request but its path. What the page may load and reach is fixed by its
Content-Security-Policy: our own files, LiveKit's client library at one address, and the LiveKit servers named here.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Final
from urllib.parse import urlsplit

from flask import Flask, Response, abort, render_template_string

_TYPES: Final = {
    "geometry.js": "text/javascript; charset=utf-8",
    "layout.css": "text/css; charset=utf-8",
    "layout.js": "text/javascript; charset=utf-8",
    "tiles.json": "application/json",
}
# In a Content-Security-Policy spaces, commas and semicolons end a source, quotes make keywords, a star stands for all.
_ADDRESS: Final = re.compile(r"(?:https?|wss?)://[A-Za-z0-9._~:/?@&+=%\[\]-]+")
_SCHEMES: Final = {"http": ("http", "ws"), "ws": ("http", "ws"), "https": ("https", "wss"), "wss": ("https", "wss")}


@dataclass(frozen=True, kw_only=True, slots=True)
class LayoutSettings:
    """`client`: where LiveKit's client library is (its UMD build). `servers`: LiveKit's own, as its egress calls them.

    Raises ValueError for what is no address, or cannot stand in a Content-Security-Policy.
    """

    client: str
    servers: tuple[str, ...]

    def __post_init__(self) -> None:
        """Check the addresses."""
        if not self.client.startswith("http") or not _is_address(self.client):
            raise ValueError(f"{self.client} is not an http or https address of a script")
        for server in self.servers:
            if not _is_address(server):
                raise ValueError(f"{server} is not an address such as wss://livekit.example")
        if not self.servers:
            raise ValueError("give the address of a LiveKit server")


def layout_app(settings: LayoutSettings) -> Flask:
    """The page under `/` and its files beside it; 404 for anything else."""
    app = Flask("media.recordings.layout_page", static_folder=None)
    contents = {name: (_folder(name) / name).read_bytes() for name in _TYPES}
    template = (files("media.recordings") / "layout" / "index.html").read_text()
    policy = content_security_policy(settings)

    @app.get("/")
    def index() -> str:
        return render_template_string(template, client=settings.client)

    @app.get("/<name>")
    def file(name: str) -> Response:
        if name not in contents:
            abort(404)
        return Response(contents[name], content_type=_TYPES[name])

    @app.after_request
    def finish(response: Response) -> Response:
        response.headers["Content-Security-Policy"] = policy
        response.headers["X-Content-Type-Options"] = "nosniff"
        # The page's own address carries a token for the room.
        response.headers["Referrer-Policy"] = "no-referrer"
        response.headers["Cache-Control"] = "no-store"
        return response

    return app


def content_security_policy(settings: LayoutSettings) -> str:
    """What the page may load and reach."""
    reached = " ".join(dict.fromkeys(origin for server in settings.servers for origin in _origins(server)))
    return "; ".join(
        (
            "default-src 'none'",
            f"script-src 'self' {settings.client.partition('?')[0]}",
            "style-src 'self'",
            f"connect-src 'self' {reached}",
            "form-action 'none'",
            "frame-ancestors 'none'",
            "base-uri 'none'",
        )
    )


def _is_address(text: str) -> bool:
    try:
        return bool(_ADDRESS.fullmatch(text) and urlsplit(text).hostname)
    except ValueError:  # brackets around what is no IPv6 address
        return False


def _origins(server: str) -> Sequence[str]:
    """The client library asks over HTTP why a WebSocket was refused."""
    parts = urlsplit(server)
    return [f"{scheme}://{parts.netloc.rpartition('@')[2]}" for scheme in _SCHEMES[parts.scheme]]


def _folder(name: str) -> Traversable:
    root = files("media.recordings")
    return root if name == "tiles.json" else root / "layout"
