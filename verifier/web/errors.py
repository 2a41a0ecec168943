"""Every error of the verify page as a clear page, or as JSON for a program: what went wrong, and nothing more."""

import logging
from http import HTTPStatus

from flask import Flask, Response, jsonify, render_template, request
from werkzeug.exceptions import HTTPException

from verifier.bundle import UnusableBundle
from verifier.web.examine import BusyError
from verifier.web.links import LinkRefusedError, LinkState
from verifier.web.listing import NoSuchPageError, visible
from verifier.web.sources import SourceUnavailableError, TooMuchWorkError, UnknownBundleError, WithdrawnBundleError

# A broken gateway or a changing file is rarely mended sooner.
RETRY_SECONDS = 30

_log = logging.getLogger("verifier.web")

_ERRORS = {
    400: ("This request cannot be understood", "Something in the address or the form is not as this page expects it."),
    404: ("There is nothing here", "The address is wrong or incomplete. Check that the whole link was copied."),
    405: ("This cannot be done here", "The address exists, but does not accept this kind of request."),
    410: (
        "This link has ended",
        (
            "Verify links end after a while, or are withdrawn by whoever gave them out. Ask them for a new one. "
            "A bundle that you downloaded earlier can still be checked on the start page, for ever."
        ),
    ),
    413: (
        "This file is too large",
        (
            "The file, or what it unpacks to, is larger than this page accepts. "
            "Check it with the command indelible-verify instead."
        ),
    ),
    422: ("This file is not a bundle", "The file could not be read as a bundle, so nothing was verified."),
    429: ("Too many requests", "Many requests came from your address in a short time. Wait a moment, then try again."),
    500: ("Something went wrong", "This page failed, and says nothing about the record. The operator can see why."),
    502: ("The bundle cannot be read", "What is stored behind this address could not be read as a bundle."),
    503: ("Please try again shortly", "This page is busy or cannot reach the bundle just now. Nothing was verified."),
}

# How each exception of ours ends; the order does not matter, none is a subclass of another.
_STATUS: dict[type[Exception], int] = {
    UnknownBundleError: 404,
    NoSuchPageError: 404,
    WithdrawnBundleError: 410,
    SourceUnavailableError: 503,
    BusyError: 503,
    TooMuchWorkError: 413,
}


def handle_errors(app: Flask) -> None:
    """Answer each way a page can end badly with its status and its page."""
    app.register_error_handler(HTTPException, _http_error)
    app.register_error_handler(LinkRefusedError, _link_refused)
    app.register_error_handler(UnusableBundle, _unusable)
    app.register_error_handler(Exception, _failed)


def _http_error(error: HTTPException) -> Response:
    response = error_response(error.code or 500)
    for name, value in error.get_headers():
        if name in {"Allow", "Location"}:
            response.headers[name] = value
    return response


def _link_refused(error: LinkRefusedError) -> Response:
    return error_response(410 if error.state is LinkState.GONE else 404)


def _unusable(error: UnusableBundle) -> Response:
    # An upload is the reader's own to mend; a bundle behind an address is the operator's.
    return error_response(422 if request.method == "POST" else 502, detail=visible(str(error)))


def _failed(error: Exception) -> Response:
    status = _STATUS.get(type(error), 500)
    if status == HTTPStatus.INTERNAL_SERVER_ERROR:
        _log.error("a page failed", exc_info=error)
    elif status == HTTPStatus.SERVICE_UNAVAILABLE:
        _log.warning("not served: %r", error)
    retry_after = RETRY_SECONDS if isinstance(error, SourceUnavailableError) else BusyError.retry_seconds
    return error_response(status, retry_after=retry_after if status == HTTPStatus.SERVICE_UNAVAILABLE else None)


def error_response(status: int, *, detail: str = "", retry_after: int | None = None) -> Response:
    """A page, or JSON for a program, that says what went wrong and nothing more."""
    title, text = _ERRORS.get(status, (HTTPStatus(status).phrase, "This request cannot be answered."))
    if request.accept_mimetypes.best_match(["text/html", "application/json"]) == "application/json":
        response = jsonify({"error": {"status": status, "title": title, "message": text, "detail": detail}})
    else:
        response = Response(
            render_template("message.html", title=title, text=text, detail=detail, status=status),
            mimetype="text/html",
        )
    response.status_code = status
    response.headers["Vary"] = "Accept"
    if retry_after is not None:
        response.headers["Retry-After"] = str(retry_after)
    return response
