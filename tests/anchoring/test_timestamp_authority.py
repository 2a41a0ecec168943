import datetime as dt
import hashlib
import ipaddress
import json
from pathlib import Path

import pytest
from asn1crypto import tsp
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from ledger.anchoring.authorities import load_authorities
from ledger.anchoring.port import AnchoringFailedError, Obtained, RefusedError, UnavailableError
from ledger.anchoring.rfc3161.request import build_request
from sandbox.authorities import Authorities, Fault, start_authorities
from sandbox.authorities.second import pki
from verifier.rfc3161 import RevocationEvidence, TimestampTrust, load_certificates, verify_token

DIGEST = hashlib.sha256(b"the last event").digest()


async def ask(configuration: str, folder: Path, digest: bytes = DIGEST) -> Obtained:
    path = folder / "authorities.toml"
    path.write_text(configuration)
    async with load_authorities(path).open_backends() as backends:
        (backend,) = backends
        obtained = await backend.anchor(digest, None)
    assert isinstance(obtained, Obtained)
    return obtained


@pytest.mark.parametrize("which", ["one", "two"])
async def test_a_good_answer_is_kept_as_sent_and_received(authorities: Authorities, which: str, tmp_path: Path) -> None:
    authority = getattr(authorities, which)
    obtained = await ask(authority.configuration(), tmp_path)
    request = tsp.TimeStampReq.load(obtained.request)
    assert request["message_imprint"]["hashed_message"].native == DIGEST
    assert request["message_imprint"]["hash_algorithm"]["algorithm"].native == "sha256"
    assert request["cert_req"].native is True
    assert request["nonce"].native > 2**32
    now = dt.datetime.now(tz=dt.UTC)
    assert abs(obtained.anchored_at - now) < dt.timedelta(minutes=1)
    result = verify_token(
        obtained.response,
        digest=DIGEST,
        trust=[TimestampTrust(roots=load_certificates(authority.root_pem))],
        query=obtained.request,
        revocation=RevocationEvidence(
            crls=tuple(item.der for item in obtained.evidence if item.kind == "crl"),
            ocsp_responses=tuple(item.der for item in obtained.evidence if item.kind == "ocsp"),
        ),
    )
    assert result.ok, result.findings
    assert result.revocation == "GOOD-AT-GENTIME"


async def test_the_whole_path_and_ocsp_or_crl_for_each_of_its_links_are_collected(
    authorities: Authorities, tmp_path: Path
) -> None:
    one = await ask(authorities.one.configuration(), tmp_path)
    assert sorted(item.kind for item in one.evidence) == ["certificate", "crl", "ocsp"]
    two = await ask(authorities.two.configuration(), tmp_path)
    assert sorted(item.kind for item in two.evidence) == ["certificate", "crl"]
    (root,) = [item.der for item in two.evidence if item.kind == "certificate"]
    assert root == load_certificates(authorities.two.root_pem)[0]


async def test_two_requests_for_one_digest_have_different_nonces() -> None:
    assert build_request(DIGEST) != build_request(DIGEST)


def test_a_digest_of_another_length_is_not_asked_for() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        build_request(b"short")


FAULTS: list[tuple[Fault, type[AnchoringFailedError], str]] = [
    (Fault.DOWN, UnavailableError, "connection failed"),
    (Fault.SLOW, UnavailableError, "did not answer within 1 seconds"),
    (Fault.CUT, UnavailableError, "connection failed"),
    (Fault.ERROR_500, UnavailableError, "HTTP status 500"),
    (Fault.UNAUTHORISED, RefusedError, "credentials"),
    (Fault.REDIRECT, RefusedError, "redirects"),
    (Fault.WRONG_CONTENT_TYPE, RefusedError, "not of the type"),
    (Fault.GARBAGE, RefusedError, "does not verify"),
    (Fault.HUGE, RefusedError, "longer than 65536 bytes"),
    (Fault.REJECTED, RefusedError, "does not verify"),
    (Fault.REPLAY, RefusedError, "does not verify"),
    (Fault.WRONG_IMPRINT, RefusedError, "does not verify"),
    (Fault.WRONG_NONCE, RefusedError, "does not verify"),
    (Fault.NO_NONCE, RefusedError, "does not verify"),
    (Fault.WRONG_TIME, RefusedError, "our clock says"),
    (Fault.BAD_SIGNATURE, RefusedError, "does not verify"),
    (Fault.OTHER_CERTIFICATE, RefusedError, "any of the trusted roots"),
    (Fault.EXPIRED_CERTIFICATE, RefusedError, "does not verify"),
    (Fault.NO_CERTIFICATE, RefusedError, "does not verify"),
    (Fault.REVOKED, RefusedError, "revoked"),
]
EVIDENCE_FAULTS = {Fault.CRL_DOWN, Fault.CRL_GARBAGE, Fault.CRL_HUGE}


@pytest.mark.parametrize(("fault", "kind", "text"), FAULTS, ids=[fault[0].value for fault in FAULTS])
async def test_an_authority_that_misbehaves_is_refused_with_the_reason(
    rogues: Authorities, tmp_path: Path, fault: Fault, kind: type[AnchoringFailedError], text: str
) -> None:
    configuration = rogues.two.configuration() + "timeout_seconds = 60\n"
    impatient = rogues.two.configuration() + "timeout_seconds = 1\n"
    await ask(configuration, tmp_path)  # so that there is an older answer to replay
    rogues.two.misbehave(fault)
    with pytest.raises(kind, match=text):
        await ask(impatient if fault is Fault.SLOW else configuration, tmp_path)
    rogues.two.misbehave(Fault.NONE)
    await ask(configuration, tmp_path)


def test_every_fault_is_tried() -> None:
    assert {fault[0] for fault in FAULTS} | EVIDENCE_FAULTS | {Fault.NONE} == set(Fault)


@pytest.mark.parametrize("fault", sorted(EVIDENCE_FAULTS))
async def test_revocation_evidence_that_is_not_to_be_had_does_not_cost_the_anchor(
    rogues: Authorities, tmp_path: Path, fault: Fault
) -> None:
    rogues.two.misbehave(fault)
    obtained = await ask(rogues.two.configuration(), tmp_path)
    assert [item.kind for item in obtained.evidence] == ["certificate"]


async def test_an_authority_under_another_root_than_configured_is_refused(
    authorities: Authorities, tmp_path: Path
) -> None:
    mixed = authorities.one.configuration().replace(str(authorities.one.root_path), str(authorities.two.root_path))
    with pytest.raises(RefusedError, match="any of the trusted roots"):
        await ask(mixed, tmp_path)


async def test_a_policy_that_is_not_accepted_is_refused(authorities: Authorities, tmp_path: Path) -> None:
    other = authorities.two.configuration().replace(pki.POLICY, "1.2.3.4")
    with pytest.raises(RefusedError, match="does not verify"):
        await ask(other, tmp_path)


async def test_a_signers_certificate_that_only_we_have_does_not_make_a_token_good(
    rogues: Authorities, tmp_path: Path
) -> None:
    signed = tsp.TimeStampResp.load((await ask(rogues.two.configuration(), tmp_path)).response)
    signer = signed["time_stamp_token"]["content"]["certificates"][0].chosen.dump()
    (tmp_path / "signer.der").write_bytes(signer)
    rogues.two.misbehave(Fault.NO_CERTIFICATE)
    configuration = rogues.two.configuration() + 'intermediates = ["signer.der"]\n'
    with pytest.raises(RefusedError):
        await ask(configuration, tmp_path)


async def test_basic_authentication_is_sent_and_a_wrong_password_says_so(tmp_path: Path) -> None:
    with start_authorities(tmp_path / "guarded") as guarded:
        (guarded.two.directory / "basic_auth").write_text("alice:opensesame")
        with pytest.raises(RefusedError, match="credentials"):
            await ask(guarded.two.configuration(), tmp_path)
        (tmp_path / "secret").write_text("alice:opensesame\n")
        await ask(guarded.two.configuration() + 'basic_auth_file = "secret"\n', tmp_path)
        (tmp_path / "secret").write_text("alice:guess\n")
        with pytest.raises(RefusedError) as caught:
            await ask(guarded.two.configuration() + 'basic_auth_file = "secret"\n', tmp_path)
        assert "guess" not in str(caught.value)


async def test_a_client_certificate_is_shown_and_the_servers_certificate_is_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = make_tls_files(tmp_path)
    directory = tmp_path / "tls" / "sandbox-two"
    directory.mkdir(parents=True)
    (directory / "tls.json").write_text(json.dumps(names))
    with start_authorities(tmp_path / "tls") as guarded:
        assert guarded.two.url.startswith("https://")
        certificate = 'client_certificate = "server.pem"\nclient_key = "server.key"\n'
        with pytest.raises(UnavailableError):  # nobody vouches for the server's certificate
            await ask(guarded.two.configuration() + certificate, tmp_path)
        monkeypatch.setenv("SSL_CERT_FILE", names["client_ca"])
        await ask(guarded.two.configuration() + certificate, tmp_path)
        with pytest.raises(UnavailableError):  # no client certificate
            await ask(guarded.two.configuration(), tmp_path)


def make_tls_files(folder: Path) -> dict[str, str]:
    root = pki.new_root(ec.generate_private_key(ec.SECP256R1()), common_name="TLS Root")
    key = ec.generate_private_key(ec.SECP256R1())
    now = dt.datetime.now(tz=dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "loopback")]))
        .issuer_name(root.certificate.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(root.key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    (folder / "server.pem").write_bytes(certificate.public_bytes(pem))
    (folder / "server.key").write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    (folder / "ca.pem").write_bytes(root.certificate.public_bytes(pem))
    return {
        "certificate": str(folder / "server.pem"),
        "key": str(folder / "server.key"),
        "client_ca": str(folder / "ca.pem"),
    }
