"""Asking a double by HTTP to tell or do something: one request, one answer."""

import http.client
import json
from collections.abc import Mapping
from urllib.parse import urlsplit

_SECONDS = 30.0


class NotDoneError(RuntimeError):
    """There was no answer, or a refusal; the text goes on after the name of who was asked."""


def ask(url: str, order: Mapping[str, object] | None = None) -> bytes:
    """GET `url`, or POST an order (JSON) to it. Raises NotDoneError for anything but the status 200."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=_SECONDS)
    try:
        body = None if order is None else json.dumps(order)
        connection.request("GET" if order is None else "POST", parts.path, body)
        answer = connection.getresponse()
        raw = answer.read()
    except (OSError, http.client.HTTPException) as error:
        raise NotDoneError(f"did not answer: {error}") from error
    finally:
        connection.close()
    if answer.status != http.HTTPStatus.OK:
        raise NotDoneError(f"refused {parts.path}: {raw[:200]!r}")
    return raw
