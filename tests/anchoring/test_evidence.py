import contextlib
import http.server
import socket
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
import structlog
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509 import ocsp
from cryptography.x509.oid import AuthorityInformationAccessOID

from ledger.anchoring.rfc3161 import evidence
from ledger.anchoring.rfc3161.evidence import MAX_ADDRESSES, EvidenceCollector
from ledger.anchoring.rfc3161.transport import open_evidence_client, open_tls
from ledger.store.values import Evidence
from sandbox.authorities.second import pki

ROOT = pki.new_root(ec.generate_private_key(ec.SECP256R1()), common_name="Root")
OTHER_ROOT = pki.new_root(ec.generate_private_key(ec.SECP256R1()), common_name="Other Root")
KEY = ec.generate_private_key(ec.SECP256R1())


class Library(http.server.ThreadingHTTPServer):
    """Serves what `shelf` holds, by path, and remembers what was asked for."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Librarian)
        self.shelf: dict[str, bytes] = {}
        self.asked: list[str] = []

    def address(self, path: str) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}{path}"


class _Librarian(http.server.BaseHTTPRequestHandler):
    server: Library

    def do_GET(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.asked.append(self.path)
        body = self.server.shelf.get(self.path)
        self.send_response(404 if body is None else 200)
        self.end_headers()
        self.wfile.write(body or b"")

    def do_POST(self) -> None:
        self.do_GET()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base class names it so
        pass


@pytest.fixture(autouse=True)
def _busy_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """No library here is late on purpose, but the machine may be busy."""
    monkeypatch.setattr(evidence, "FETCH_SECONDS", 60.0)
    monkeypatch.setattr(evidence, "BUDGET_SECONDS", 120.0)


@pytest.fixture
def library() -> Iterator[Library]:
    with Library() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def certificate(*, crl: list[str], ocsp_at: list[str]) -> x509.Certificate:
    now = datetime.now(tz=UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "signer")]))
        .issuer_name(ROOT.certificate.subject)
        .public_key(KEY.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
    )
    if crl:
        points = [
            x509.DistributionPoint(
                full_name=[x509.UniformResourceIdentifier(address)], relative_name=None, reasons=None, crl_issuer=None
            )
            for address in crl
        ]
        builder = builder.add_extension(x509.CRLDistributionPoints(points), critical=False)
    if ocsp_at:
        access = [
            x509.AccessDescription(AuthorityInformationAccessOID.OCSP, x509.UniformResourceIdentifier(address))
            for address in ocsp_at
        ]
        builder = builder.add_extension(x509.AuthorityInformationAccess(access), critical=False)
    return builder.sign(ROOT.key, hashes.SHA256())


def crl(root: pki.Identity, *, next_update: timedelta = timedelta(days=1)) -> bytes:
    now = datetime.now(tz=UTC)
    builder = x509.CertificateRevocationListBuilder().issuer_name(root.certificate.subject)
    builder = builder.last_update(now - timedelta(days=9)).next_update(now + next_update)
    return builder.sign(root.key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


def ocsp_response(about: x509.Certificate, *, next_update: timedelta = timedelta(hours=1)) -> bytes:
    now = datetime.now(tz=UTC)
    builder = ocsp.OCSPResponseBuilder().add_response(
        cert=about,
        issuer=ROOT.certificate,
        algorithm=hashes.SHA1(),
        cert_status=ocsp.OCSPCertStatus.GOOD,
        this_update=now - timedelta(days=1),
        next_update=now + next_update,
        revocation_time=None,
        revocation_reason=None,
    )
    builder = builder.responder_id(ocsp.OCSPResponderEncoding.HASH, ROOT.certificate)
    return builder.sign(ROOT.key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


async def collect(*certificates: x509.Certificate, times: int = 1, seconds: float = 60.0) -> tuple[Evidence, ...]:
    async with open_evidence_client(seconds, open_tls()) as client:
        collector = EvidenceCollector(client)
        for _ in range(times):
            found = await collector.collect(
                tuple(one.public_bytes(serialization.Encoding.DER) for one in (*certificates, ROOT.certificate))
            )
        return found


async def test_ocsp_is_preferred_and_the_list_is_taken_where_it_fails(library: Library) -> None:
    signer = certificate(crl=[library.address("/crl")], ocsp_at=[library.address("/ocsp")])
    library.shelf = {"/crl": crl(ROOT), "/ocsp": ocsp_response(signer)}
    assert [item.kind for item in await collect(signer)] == ["ocsp"]
    del library.shelf["/ocsp"]
    assert [item.kind for item in await collect(signer)] == ["crl"]


async def test_what_was_fetched_is_remembered_for_a_while(library: Library) -> None:
    signer = certificate(crl=[library.address("/crl")], ocsp_at=[])
    library.shelf = {"/crl": crl(ROOT)}
    assert await collect(signer, times=5)
    assert library.asked == ["/crl"]


async def test_what_is_about_something_else_or_out_of_date_is_left_out(library: Library) -> None:
    signer = certificate(crl=[library.address("/crl")], ocsp_at=[library.address("/ocsp")])
    another = certificate(crl=[], ocsp_at=[])
    refused = ocsp.OCSPResponseBuilder.build_unsuccessful(ocsp.OCSPResponseStatus.UNAUTHORIZED)
    for shelf in (
        {"/ocsp": ocsp_response(another), "/crl": crl(OTHER_ROOT)},
        {"/ocsp": ocsp_response(signer, next_update=timedelta(hours=-1)), "/crl": crl(ROOT, next_update=-timedelta(1))},
        {"/ocsp": refused.public_bytes(serialization.Encoding.DER), "/crl": b""},
        {"/ocsp": crl(ROOT), "/crl": ocsp_response(signer)},
        {"/ocsp": b"\x30" * 100_000, "/crl": b"\x30" * 3_000_000},
    ):
        library.shelf = shelf
        assert await collect(signer) == ()


@pytest.mark.parametrize(
    "address",
    ["ldap://127.0.0.1/cn=list", "file:///etc/passwd", "https://127.0.0.1:1/crl", "http://[::bad/", "http:///crl", "x"],
)
async def test_only_plain_http_addresses_are_fetched(address: str) -> None:
    with structlog.testing.capture_logs() as attempts:
        assert await collect(certificate(crl=[address], ocsp_at=[address])) == ()
    assert attempts == [], "it was tried"


async def test_an_address_with_credentials_is_not_fetched(library: Library) -> None:
    address = library.address("/crl").replace("http://", "http://name:word@")
    library.shelf = {"/crl": crl(ROOT)}
    assert await collect(certificate(crl=[address], ocsp_at=[])) == ()
    assert library.asked == []


async def test_a_certificate_with_a_thousand_addresses_costs_a_few_requests(library: Library) -> None:
    addresses = [library.address(f"/{number}") for number in range(1000)]
    assert await collect(certificate(crl=addresses, ocsp_at=addresses)) == ()
    assert len(library.asked) == 2 * MAX_ADDRESSES


async def test_a_server_that_keeps_silent_is_given_up() -> None:
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as silent:
        signer = certificate(crl=[f"http://127.0.0.1:{silent.getsockname()[1]}/crl"], ocsp_at=[])
        assert await collect(signer, seconds=1.0) == ()
