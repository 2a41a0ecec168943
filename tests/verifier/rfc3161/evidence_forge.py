"""A forge of revocation lists, OCSP responses and trusted lists, to go with the forge of tokens."""

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from tests.verifier.rfc3161 import token_forge as forge
from tests.verifier.rfc3161.token_forge import ISSUER, SIGNER, Certificate

BEFORE, AT, AFTER = "20240501000000Z", "20240601120000Z", "20240701000000Z"
LATER = "20240801000000Z"


def enumerated(value: int) -> bytes:
    return forge.tlv(10, forge.integer_content(value))


def entry(serial: int, since: str = AFTER, *, reason: int | None = None, extensions: Sequence[bytes] = ()) -> bytes:
    all_extensions = [*extensions]
    if reason is not None:
        all_extensions.append(forge.extension("2.5.29.21", enumerated(reason)))
    return forge.seq(
        forge.integer(serial),
        forge.generalized(since),
        *([forge.seq(*all_extensions)] if all_extensions else []),
    )


@dataclass(frozen=True, kw_only=True)
class Crl:
    """A recipe for a revocation list."""

    issuer: str = "Issuer"
    key: forge.Key = ISSUER.key
    this_update: str = AFTER
    next_update: str | None = LATER
    entries: Sequence[bytes] = ()
    extensions: Sequence[bytes] = ()
    hash_name: str = "sha256"

    @property
    def der(self) -> bytes:
        algorithm = self.key.algorithm(self.hash_name)
        tbs = forge.seq(
            forge.integer(1),
            algorithm,
            forge.name(self.issuer),
            forge.generalized(self.this_update),
            forge.generalized(self.next_update) if self.next_update else b"",
            forge.seq(*self.entries) if self.entries else b"",
            forge.context(0, forge.seq(*self.extensions)) if self.extensions else b"",
        )
        return forge.seq(tbs, algorithm, forge.bits(self.key.sign(tbs, self.hash_name)))


GOOD = forge.context(0, constructed=False)
UNKNOWN = forge.context(2, constructed=False)


def revoked(since: str, reason: int | None = None) -> bytes:
    return forge.context(
        1, forge.generalized(since), forge.context(0, enumerated(reason)) if reason is not None else b""
    )


RESPONDER = Certificate(
    subject="Responder",
    issuer="Issuer",
    key=forge.key("responder"),
    signed_by=ISSUER.key,
    serial=20,
    extensions=(forge.purposes(forge.OCSP_SIGNING),),
)


@dataclass(frozen=True, kw_only=True)
class Ocsp:
    """A recipe for an OCSP response about the forge's signer."""

    status: bytes = GOOD
    serial: int = SIGNER.serial
    issuer: Certificate = ISSUER
    certificate_hash: str = "sha1"
    responder: Certificate = ISSUER
    by_key: bool = False
    this_update: str = AFTER
    next_update: str | None = None
    single_extensions: Sequence[bytes] = ()
    extensions: Sequence[bytes] = ()
    certificates: Sequence[bytes] = ()
    response_status: int = 0
    hash_name: str = "sha256"

    @property
    def basic(self) -> bytes:
        key_bits = self.issuer.key.spki[-65:]
        certificate_id = forge.seq(
            forge.hash_algorithm(self.certificate_hash),
            forge.octets(forge.digest(self.certificate_hash, forge.name(self.issuer.subject))),
            forge.octets(forge.digest(self.certificate_hash, key_bits)),
            forge.integer(self.serial),
        )
        answer = forge.seq(
            certificate_id,
            self.status,
            forge.generalized(self.this_update),
            forge.context(0, forge.generalized(self.next_update)) if self.next_update else b"",
            forge.context(1, forge.seq(*self.single_extensions)) if self.single_extensions else b"",
        )
        responder = forge.context(1, forge.name(self.responder.subject))
        if self.by_key:
            responder = forge.context(2, forge.octets(hashlib.sha1(self.responder.key.spki[-65:]).digest()))
        tbs = forge.seq(
            responder,
            forge.generalized(self.this_update),
            forge.seq(answer),
            forge.context(1, forge.seq(*self.extensions)) if self.extensions else b"",
        )
        key = self.responder.key
        return forge.seq(
            tbs,
            key.algorithm(self.hash_name),
            forge.bits(key.sign(tbs, self.hash_name)),
            forge.context(0, forge.seq(*self.certificates)) if self.certificates else b"",
        )

    @property
    def der(self) -> bytes:
        if self.response_status:
            return forge.seq(enumerated(self.response_status))
        content = forge.seq(forge.oid("1.3.6.1.5.5.7.48.1.1"), forge.octets(self.basic))
        return forge.seq(enumerated(0), forge.context(0, content))


QTST = "http://uri.etsi.org/TrstSvc/Svctype/TSA/QTST"
_STATUS = "http://uri.etsi.org/TrstSvc/TrustedList/Svcstatus/"


def service(
    identity: str, *periods: tuple[str, str], kind: str = QTST, status_prefix: str = _STATUS, more: str = ""
) -> str:
    """One TSPService; `periods` are (status, starting time), newest first."""
    parts = [
        f"<ServiceTypeIdentifier>{kind}</ServiceTypeIdentifier>"
        f"<ServiceDigitalIdentity><DigitalId>{identity}</DigitalId></ServiceDigitalIdentity>"
        f"<ServiceStatus>{status_prefix}{status}</ServiceStatus><StatusStartingTime>{since}</StatusStartingTime>{more}"
        for status, since in periods
    ]
    history = "".join(f"<ServiceHistoryInstance>{part}</ServiceHistoryInstance>" for part in parts[1:])
    return (
        f"<TSPService><ServiceInformation>{parts[0]}</ServiceInformation>"
        f"<ServiceHistory>{history}</ServiceHistory></TSPService>"
    )


def certificate_identity(certificate: bytes) -> str:
    return f"<X509Certificate>\n  {base64.b64encode(certificate).decode()}\n</X509Certificate>"


def trusted_list(*services: str, prolog: str = "") -> bytes:
    return (
        f'<?xml version="1.0" encoding="UTF-8"?>{prolog}'
        '<TrustServiceStatusList xmlns="http://uri.etsi.org/02231/v2#">'
        "<TrustServiceProviderList><TrustServiceProvider><TSPServices>"
        f"{''.join(services)}"
        "</TSPServices></TrustServiceProvider></TrustServiceProviderList></TrustServiceStatusList>"
    ).encode()
