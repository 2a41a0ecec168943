"""Answers of `sandbox-two`: a TimeStampResp (RFC 3161 section 2.4.2) for a request, right or wrong as told.

Only the answer for `Fault.NONE` follows the standard; each other one departs from it in exactly one way, so that a
client which accepts it has missed exactly one check.
"""

import hashlib
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from asn1crypto import algos, cms, core, tsp, x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from sandbox.authorities.faults import Fault
from sandbox.authorities.second.pki import POLICY, Identity

_DIGESTS = frozenset({"sha256", "sha384", "sha512"})


@dataclass(frozen=True, kw_only=True, slots=True)
class Signers:
    """The certificates this authority signs with: its own, and two that only faults use."""

    good: Identity
    expired: Identity
    stranger: Identity


def answer(request_der: bytes, signers: Signers, fault: Fault) -> bytes:
    """The TimeStampResp for a TimeStampReq, DER; a rejection when the request cannot be read or served."""
    try:
        request = tsp.TimeStampReq.load(request_der, strict=True)
        imprint = request["message_imprint"]
        digest_name = imprint["hash_algorithm"]["algorithm"].native
        digest = imprint["hashed_message"].native
        nonce = request["nonce"].native
        wants_certificates = request["cert_req"].native
        policy = request["req_policy"].native
    except (ValueError, TypeError, KeyError):
        return _rejection("bad_data_format")
    if digest_name not in _DIGESTS or len(digest) != hashlib.new(digest_name).digest_size:
        return _rejection("bad_alg")
    if policy not in {None, POLICY}:
        return _rejection("unaccepted_policy")
    if fault is Fault.REJECTED:
        return _rejection("system_failure")
    info = _tst_info(digest_name, digest, nonce, fault)
    with_certificates = wants_certificates and fault is not Fault.NO_CERTIFICATE
    token = _token(info.dump(), _signer_for(signers, fault), with_certificates=with_certificates, fault=fault)
    return bytes(tsp.TimeStampResp({"status": {"status": "granted"}, "time_stamp_token": token}).dump())


def _rejection(failure: str) -> bytes:
    status = {"status": "rejection", "status_string": ["The sandbox refuses this request."], "fail_info": {failure}}
    inner = tsp.PKIStatusInfo(status).dump()
    # By hand, because the library takes the token for mandatory: a SEQUENCE, whose length fits one byte.
    return bytes([0x30, len(inner)]) + bytes(inner)


def _signer_for(signers: Signers, fault: Fault) -> Identity:
    if fault is Fault.EXPIRED_CERTIFICATE:
        return signers.expired
    if fault is Fault.OTHER_CERTIFICATE:
        return signers.stranger
    return signers.good


def _tst_info(digest_name: str, digest: bytes, nonce: int | None, fault: Fault) -> tsp.TSTInfo:
    now = datetime.now(tz=UTC)
    if fault is Fault.WRONG_TIME:
        now += timedelta(days=1)
    if fault is Fault.WRONG_IMPRINT:
        digest = bytes([digest[0] ^ 1]) + digest[1:]
    info: dict[str, object] = {
        "version": "v1",
        "policy": POLICY,
        "message_imprint": {"hash_algorithm": {"algorithm": digest_name}, "hashed_message": digest},
        "serial_number": secrets.randbits(63) + 1,
        "gen_time": now,
        "accuracy": {"seconds": 1},
    }
    if nonce is not None and fault is not Fault.NO_NONCE:
        info["nonce"] = nonce + 1 if fault is Fault.WRONG_NONCE else nonce
    return tsp.TSTInfo(info)


def _token(content: bytes, signer: Identity, *, with_certificates: bool, fault: Fault) -> cms.ContentInfo:
    certificate = x509.Certificate.load(signer.der)
    sha256 = algos.DigestAlgorithm({"algorithm": "sha256"})
    attributes = cms.CMSAttributes(
        [
            cms.CMSAttribute({"type": "content_type", "values": ["tst_info"]}),
            cms.CMSAttribute({"type": "message_digest", "values": [hashlib.sha256(content).digest()]}),
            cms.CMSAttribute(
                {
                    "type": "signing_certificate_v2",
                    "values": [tsp.SigningCertificateV2({"certs": [_ess_cert_id(signer, certificate)]})],
                }
            ),
        ]
    )
    signature = bytearray(signer.key.sign(attributes.dump(), ec.ECDSA(hashes.SHA256())))
    if fault is Fault.BAD_SIGNATURE:
        signature[-1] ^= 1
    signer_info = {
        "version": "v1",
        "sid": cms.SignerIdentifier(
            {
                "issuer_and_serial_number": cms.IssuerAndSerialNumber(
                    {"issuer": certificate.issuer, "serial_number": certificate.serial_number}
                )
            }
        ),
        "digest_algorithm": sha256,
        "signed_attrs": attributes,
        "signature_algorithm": {"algorithm": "sha256_ecdsa"},
        "signature": bytes(signature),
    }
    signed_data: dict[str, object] = {
        "version": "v3",
        "digest_algorithms": [sha256],
        "encap_content_info": {"content_type": "tst_info", "content": core.ParsableOctetString(content)},
        "signer_infos": [signer_info],
    }
    if with_certificates:
        signed_data["certificates"] = [certificate]
    return cms.ContentInfo({"content_type": "signed_data", "content": cms.SignedData(signed_data)})


def _ess_cert_id(signer: Identity, certificate: x509.Certificate) -> tsp.ESSCertIDv2:
    # The hash algorithm is left out: SHA-256 is its default (RFC 5035), and DER omits defaults.
    return tsp.ESSCertIDv2(
        {
            "cert_hash": hashlib.sha256(signer.der).digest(),
            "issuer_serial": {
                "issuer": [x509.GeneralName({"directory_name": certificate.issuer})],
                "serial_number": certificate.serial_number,
            },
        }
    )
