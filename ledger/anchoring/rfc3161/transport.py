"""HTTP towards authorities: bounded in time and size, no redirects, nothing of the other side's text repeated raw.

The client takes no proxy, no credentials and no certificates from the environment but the standard `SSL_CERT_FILE`
and `SSL_CERT_DIR`, by which an operator names the roots that TLS trusts.
"""

import asyncio
import logging
import ssl
from collections.abc import Mapping
from http import HTTPStatus
from http.cookiejar import CookieJar, DefaultCookiePolicy

import httpx

from ledger.anchoring.port import RefusedError, UnavailableError
from ledger.anchoring.rfc3161.configuration import AuthorityConfiguration

MAX_ANSWER_BYTES = 64 * 1024  # the verifier's own limit; real answers have 1 to 10 KiB
MAX_RETRY_AFTER_SECONDS = 3600.0

# "identity": nothing that unpacks to more than was sent.
_HEADERS = {"User-Agent": "indelible-anchoring", "Accept-Encoding": "identity"}


class NotThereError(RefusedError):
    """The other side does not have what was asked for (HTTP status 404)."""


def open_tls() -> ssl.SSLContext:
    """What TLS connections trust; one for all clients that show no certificate of their own, for it is slow to make."""
    return httpx.create_ssl_context()


def open_client(configuration: AuthorityConfiguration, tls: ssl.SSLContext) -> httpx.AsyncClient:
    """A client for the authority, with its credentials. Raises OSError when the client certificate is unreadable."""
    # Its line for each request, at level INFO, has the whole address, in which some authorities put a customer's key.
    library_log = logging.getLogger("httpx")
    library_log.setLevel(max(library_log.level, logging.WARNING))
    if configuration.client_certificate is not None:
        tls = open_tls()
        tls.load_cert_chain(configuration.client_certificate, configuration.client_key)
    auth = configuration.basic_auth
    return httpx.AsyncClient(
        verify=tls,
        auth=httpx.BasicAuth(auth.name, auth.password) if auth is not None else None,
        timeout=configuration.timeout_seconds,
        cookies=_no_cookies(),
        follow_redirects=False,
        trust_env=False,
        headers=_HEADERS,
        limits=httpx.Limits(max_connections=configuration.concurrency, max_keepalive_connections=1),
    )


def open_evidence_client(timeout_seconds: float, tls: ssl.SSLContext) -> httpx.AsyncClient:
    """A client without credentials, for revocation evidence."""
    return httpx.AsyncClient(
        verify=tls,
        timeout=timeout_seconds,
        cookies=_no_cookies(),
        follow_redirects=False,
        trust_env=False,
        headers=_HEADERS,
    )


async def fetch(  # noqa: PLR0913  # each is one independent bound or part of the request
    client: httpx.AsyncClient,
    method: str,
    url: str,
    *,
    content: bytes | None = None,
    headers: Mapping[str, str] | None = None,
    answer_types: frozenset[str],
    max_bytes: int,
    timeout_seconds: float,
) -> bytes:
    """The body of the answer to one request.

    Raises UnavailableError when there is no whole 200 answer within `timeout_seconds`, and RefusedError when the
    answer is larger than `max_bytes`, of a type that is not in `answer_types` (empty: any), or a refusal.
    """
    try:
        async with (
            asyncio.timeout(timeout_seconds),
            client.stream(method, url, content=content, headers=headers) as answer,
        ):
            _require_ok(answer)
            content_type = answer.headers.get("Content-Type", "").partition(";")[0].strip().lower()
            if answer_types and content_type not in answer_types:
                raise RefusedError("its answer is not of the type that was asked for, but perhaps a web page")
            return await _read(answer, max_bytes)
    except TimeoutError:
        raise UnavailableError(f"it did not answer within {timeout_seconds:g} seconds") from None
    except httpx.TimeoutException:
        raise UnavailableError(f"it did not answer within {timeout_seconds:g} seconds") from None
    except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
        # OSError: TLS alerts that come with the answer are not wrapped by the library.
        # The class says what happened; the text may repeat an address with a customer's key in it.
        raise UnavailableError(f"the connection failed ({type(error).__name__})") from None


def _no_cookies() -> CookieJar:
    return CookieJar(policy=DefaultCookiePolicy(allowed_domains=[]))


async def _read(answer: httpx.Response, max_bytes: int) -> bytes:
    body = bytearray()
    async for chunk in answer.aiter_raw():
        body += chunk
        if len(body) > max_bytes:
            raise RefusedError(f"its answer is longer than {max_bytes} bytes")
    return bytes(body)


def _require_ok(answer: httpx.Response) -> None:
    status = answer.status_code
    if status == HTTPStatus.OK:
        return
    if answer.is_redirect:
        raise RefusedError("it redirects to another address, which is not followed; configure the final one")
    if status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
        raise RefusedError(f"it does not accept our credentials, or wants some (HTTP status {status})")
    if status == HTTPStatus.TOO_MANY_REQUESTS or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        raise UnavailableError(f"it is in trouble (HTTP status {status})", retry_after_seconds=_retry_after(answer))
    if status == HTTPStatus.NOT_FOUND:
        raise NotThereError(f"it refuses the request (HTTP status {status})")
    raise RefusedError(f"it refuses the request (HTTP status {status})")


def _retry_after(answer: httpx.Response) -> float | None:
    """The pause it asks for, in seconds; the form with a date is not worth another clock to trust."""
    text = answer.headers.get("Retry-After", "").strip()
    if not (text.isascii() and text.isdigit()):
        return None
    return min(float(text[:9]), MAX_RETRY_AFTER_SECONDS)
