"""The pages: verify links, the start page with its upload, and bundles of an auditor's own folder."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

from flask import Blueprint, Response, abort, current_app, jsonify, render_template, request, send_file, url_for

from verifier.bundle import open_bundle
from verifier.web.examine import Examination, Turns
from verifier.web.links import VerifyLink, load_link_keys, open_link, read_link
from verifier.web.listing import EventPage, NoSuchPageError, find_disclosures, find_event, list_events
from verifier.web.presentation import present
from verifier.web.settings import WebSettings
from verifier.web.sources import BundleFile, GatewayBundles, LocalBundles, UnknownBundleError, open_upload
from verifier.web.trust import TrustFile

EXTENSION = "indelible-verify"

pages = Blueprint("pages", __name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class Services:
    """What the pages work with, made once per application."""

    settings: WebSettings
    trust: TrustFile
    turns: Turns
    upload_turns: Turns
    local: LocalBundles | None
    gateway: GatewayBundles | None


@pages.get("/healthz")
def healthz() -> Response:
    """Answer a load balancer without touching a bundle."""
    return Response("ok\n", mimetype="text/plain")


@pages.get("/")
def start() -> Response:
    """Offer the upload, and on an auditor's own machine the bundles of the folder."""
    services = _services()
    names = services.local.names() if services.local and services.settings.link_keys is None else None
    return Response(
        render_template(
            "start.html",
            names=names,
            max_mebibytes=services.settings.max_upload_bytes // (1024 * 1024),
            trusts_somebody=not services.trust.current().policy.trusts_nobody,
        )
    )


@pages.post("/")
def upload() -> Response:
    """Verify the reader's own file. Nothing is stored, so there is no state that a foreign form could change."""
    file = request.files.get("bundle")
    if file is None or not file.filename:
        abort(400)
    with _services().upload_turns.take(), open_upload(file.stream) as bundle:
        return _report(bundle, None, base=None)


@pages.get("/v/<token>")
def link_report(token: str) -> Response:
    """Verify the bundle behind a link."""
    with _open_link(token) as (bundle, link):
        return _report(bundle, link, base=url_for("pages.link_report", token=token))


@pages.get("/v/<token>/events/<int(max=281474976710655):sequence>")
def link_event(token: str, sequence: int) -> Response:
    """Show one event of the bundle behind a link."""
    with _open_link(token) as (bundle, link):
        return _event(bundle, link, sequence, base=url_for("pages.link_report", token=token))


@pages.get("/v/<token>/bundle.zip")
def link_download(token: str) -> Response:
    """Hand out the bundle behind a link, as it is."""
    with _open_link(token) as (bundle, _):
        return _download(bundle)


@pages.get("/bundles/<name>")
def local_report(name: str) -> Response:
    """Verify a bundle of the auditor's own folder."""
    with _open_local(name) as bundle:
        return _report(bundle, None, base=url_for("pages.local_report", name=name))


@pages.get("/bundles/<name>/events/<int(max=281474976710655):sequence>")
def local_event(name: str, sequence: int) -> Response:
    """Show one event of a bundle of the auditor's own folder."""
    with _open_local(name) as bundle:
        return _event(bundle, None, sequence, base=url_for("pages.local_report", name=name))


@pages.get("/bundles/<name>/bundle.zip")
def local_download(name: str) -> Response:
    """Hand out a bundle of the auditor's own folder."""
    with _open_local(name) as bundle:
        return _download(bundle)


def _services() -> Services:
    services: Services = current_app.extensions[EXTENSION]
    return services


@contextmanager
def _open_link(token: str) -> Iterator[tuple[BundleFile, VerifyLink]]:
    services = _services()
    keys_file = services.settings.link_keys
    if keys_file is not None:
        # Read each time: a rotated key or a revoked link takes effect at once, and the file is tiny.
        link = open_link(token, load_link_keys(keys_file), now=datetime.now(tz=UTC))
    elif services.gateway is not None:
        link = read_link(token)
    else:
        raise UnknownBundleError
    if services.gateway is not None:
        with services.gateway.open_link(token, name=f"{link.chain_id}.zip") as bundle:
            yield bundle, link
    elif services.local is not None:
        with services.local.open_chain(link.organisation_id, link.chain_id) as bundle:
            yield bundle, link


@contextmanager
def _open_local(name: str) -> Iterator[BundleFile]:
    services = _services()
    # With link keys the page is for the public, to whom only the link they were given is shown.
    if services.local is None or services.settings.link_keys is not None:
        raise UnknownBundleError
    with services.local.open_named(name) as bundle:
        yield bundle


def _report(bundle: BundleFile, link: VerifyLink | None, *, base: str | None) -> Response:
    services = _services()
    number, kind = _list_choice()
    examination = services.trust.current().examiner.examine(bundle, link)
    if request.accept_mimetypes.best_match(["text/html", "application/json"]) == "application/json":
        response = jsonify(examination.report)
    else:
        events = _events(bundle, examination, number=number, kind=kind)
        view = present(examination, link, archive=bundle.name)
        response = Response(
            render_template(
                "report.html",
                view=view,
                events=events,
                base=base,
                now=datetime.now(tz=UTC),
            )
        )
    response.headers["Vary"] = "Accept"
    return response


def _list_choice() -> tuple[int, str]:
    page = request.args.get("page", "1")
    if not re.fullmatch(r"[0-9]{1,12}", page, re.ASCII):
        abort(400)
    return int(page), request.args.get("kind", "")


def _events(bundle: BundleFile, examination: Examination, *, number: int, kind: str) -> EventPage:
    if kind and kind not in examination.kinds:
        raise NoSuchPageError
    total = examination.kinds[kind] if kind else examination.listed_events
    with _services().turns.take():
        bundle.file.seek(0)
        with open_bundle(bundle.file) as opened:
            return list_events(opened, number=number, kind=kind, total=total)


def _event(bundle: BundleFile, link: VerifyLink | None, sequence: int, *, base: str) -> Response:
    services = _services()
    examination = services.trust.current().examiner.examine(bundle, link)
    if not 1 <= sequence <= examination.listed_events:
        raise NoSuchPageError
    with services.turns.take():
        bundle.file.seek(0)
        with open_bundle(bundle.file) as opened:
            event, line = find_event(opened, sequence)
            disclosed = find_disclosures(opened, sequence) if examination.report["verdict"] != "FAILED" else ()
    return Response(
        render_template(
            "event.html",
            event=event,
            disclosed=disclosed,
            line_bytes=len(line),
            view=present(examination, link, archive=bundle.name),
            base=base,
            last=examination.listed_events,
        )
    )


def _download(bundle: BundleFile) -> Response:
    # A file of its own: the server sends it after this function has returned and `bundle` is closed.
    descriptor = os.dup(bundle.file.fileno())
    os.lseek(descriptor, 0, os.SEEK_SET)
    file = os.fdopen(descriptor, "rb")
    response = send_file(file, mimetype="application/zip", as_attachment=True, download_name=bundle.name, etag=False)
    response.content_length = bundle.size
    return response
