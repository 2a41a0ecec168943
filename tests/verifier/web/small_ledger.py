"""The tests' own small ledger and time-stamp authority, written from docs/spec."""

import hashlib
import io
import json
import secrets
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from asn1crypto import algos, cms, core, tsp
from asn1crypto import x509 as asn1_x509
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

BEGAN = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
STAMPED = datetime(2026, 1, 2, 4, 0, 0, tzinfo=UTC)


def canonical(value: Any) -> bytes:
    """RFC 8785 for what the tests write: strings, integers, plain ASCII names."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def timestamp(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def merkle_root(leaves: list[bytes]) -> bytes:
    if len(leaves) == 1:
        return hashlib.sha256(b"\x00" + leaves[0]).digest()
    split = 1 << (len(leaves) - 1).bit_length() - 1
    return hashlib.sha256(b"\x01" + merkle_root(leaves[:split]) + merkle_root(leaves[split:])).digest()


@dataclass(kw_only=True)
class Chain:
    """A session chain as a ledger would write it."""

    chain_id: str = "demo-1"
    organisation: dict[str, str] = field(default_factory=lambda: {"id": "acme", "name": "Acme Security"})
    lines: list[bytes] = field(default_factory=list)
    hashes: list[bytes] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.append(
            "chain.opened",
            {
                "chain_id": self.chain_id,
                "chain_type": "session",
                "format": "indelible-chain/1",
                "organisation": self.organisation,
                "subject": {},
            },
        )

    def append(self, kind: str, payload: dict[str, Any]) -> None:
        sequence = len(self.lines) + 1
        moment = BEGAN + timedelta(milliseconds=250 * sequence)
        body = canonical(payload)
        previous = self.hashes[-1] if self.hashes else bytes(32)
        preimage = sequence.to_bytes(8, "big") + previous
        for part in (kind.encode(), body):
            preimage += len(part).to_bytes(4, "big") + part
        micros = (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
        digest = hashlib.sha256(preimage + micros.to_bytes(8, "big")).digest()
        head = {"hash": digest.hex(), "kind": kind, "occurred_at": timestamp(moment)}
        tail = {"prev_hash": previous.hex(), "sequence": sequence}
        self.lines.append(canonical(head)[:-1] + b',"payload":' + body + b"," + canonical(tail)[1:])
        self.hashes.append(digest)

    def close(self) -> None:
        size = len(self.hashes)
        self.append("chain.closed", {"merkle_root": merkle_root(self.hashes).hex(), "tree_size": size})

    def bundle(self, *authorities: "Authority", disclosures: Sequence[tuple[int, str]] = ()) -> bytes:
        anchors, files = [], {"data/README.txt": b"Check with sha256sum and openssl.\n"}
        if disclosures:
            lines = [canonical({"disclosure": text, "sequence": number}) + b"\n" for number, text in disclosures]
            files["data/disclosures.jsonl"] = b"".join(lines)
        head, sequence = self.hashes[-1], len(self.lines)
        for authority in sorted(authorities, key=lambda one: one.name):
            stem = f"data/anchors/{sequence}-rfc3161-{authority.name}"
            files[f"{stem}.tsq"], files[f"{stem}.tsr"] = authority.stamp(head)
            anchors.append(
                {
                    "aggregation": None,
                    "authority": authority.name,
                    "backend": "rfc3161",
                    "digest": head.hex(),
                    "files": {"request": f"{stem}.tsq", "response": f"{stem}.tsr"},
                    "obtained_at": timestamp(STAMPED),
                    "sequence": sequence,
                }
            )
        files["data/events.jsonl"] = b"".join(line + b"\n" for line in self.lines)
        exported_at = timestamp(STAMPED) if anchors else json.loads(self.lines[-1])["occurred_at"]
        files["data/bundle.json"] = canonical(
            {
                "anchors": anchors,
                "chain_id": self.chain_id,
                "event_count": sequence,
                "exported_at": exported_at,
                "format": "indelible-bundle/1",
                "head": head.hex(),
                "organisation": self.organisation,
                "pending": [],
            }
        )
        return bag(files, chain_id=self.chain_id, exported_at=exported_at)


def bag(files: dict[str, bytes], *, chain_id: str, exported_at: str) -> bytes:
    """A BagIt bag of `files`, zipped as docs/spec/bundle.md says."""
    octets = sum(len(content) for content in files.values())
    tags = {
        "bagit.txt": b"BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n",
        "bag-info.txt": (
            f"Bagging-Date: {exported_at[:10]}\nExternal-Identifier: {chain_id}\nPayload-Oxum: {octets}.{len(files)}\n"
        ).encode(),
        "manifest-sha256.txt": _manifest(files),
    }
    tags["tagmanifest-sha256.txt"] = _manifest(tags)
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as target:
        for name, content in sorted({**files, **tags}.items()):
            info = zipfile.ZipInfo(f"{chain_id}/{name}")
            info.create_system, info.external_attr = 3, 0o100644 << 16
            target.writestr(info, content)
    return archive.getvalue()


def _manifest(files: dict[str, bytes]) -> bytes:
    return b"".join(
        f"{hashlib.sha256(content).hexdigest()}  {name}\n".encode() for name, content in sorted(files.items())
    )


class Authority:
    """A time-stamp authority: a root and a signer, both on P-256."""

    def __init__(self, name: str) -> None:
        self.name = name
        root_key, self._key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
        self.root = _certificate(f"{name} root", f"{name} root", root_key, root_key, is_root=True)
        self._signer = _certificate(f"{name} signer", f"{name} root", self._key, root_key, is_root=False)

    @property
    def root_pem(self) -> str:
        return self.root.public_bytes(serialization.Encoding.PEM).decode()

    def stamp(self, digest: bytes) -> tuple[bytes, bytes]:
        """The request and the response for a SHA-256 digest."""
        imprint = {"hash_algorithm": {"algorithm": "sha256"}, "hashed_message": digest}
        nonce = secrets.randbits(64)
        request = tsp.TimeStampReq({"version": 1, "message_imprint": imprint, "nonce": nonce, "cert_req": True})
        info = tsp.TSTInfo(
            {
                "version": 1,
                "policy": "1.3.6.1.4.1.99999.1",
                "message_imprint": imprint,
                "serial_number": secrets.randbits(62),
                "gen_time": STAMPED,
                "nonce": nonce,
            }
        )
        response = tsp.TimeStampResp({"status": {"status": "granted"}, "time_stamp_token": self._sign(info.dump())})
        return request.dump(), response.dump()

    def _sign(self, content: bytes) -> cms.ContentInfo:
        signer_der = self._signer.public_bytes(serialization.Encoding.DER)
        signer = asn1_x509.Certificate.load(signer_der)
        sha256 = algos.DigestAlgorithm({"algorithm": "sha256"})
        certificate_id = tsp.ESSCertIDv2({"hash_algorithm": sha256, "cert_hash": hashlib.sha256(signer_der).digest()})
        attributes = cms.CMSAttributes(
            [
                cms.CMSAttribute({"type": "content_type", "values": ["tst_info"]}),
                cms.CMSAttribute({"type": "message_digest", "values": [hashlib.sha256(content).digest()]}),
                cms.CMSAttribute(
                    {
                        "type": "signing_certificate_v2",
                        "values": [tsp.SigningCertificateV2({"certs": [certificate_id]})],
                    }
                ),
            ]
        )
        signed = {
            "version": "v3",
            "digest_algorithms": [sha256],
            "encap_content_info": {"content_type": "tst_info", "content": core.ParsableOctetString(content)},
            "certificates": [signer],
            "signer_infos": [
                {
                    "version": "v1",
                    "sid": cms.SignerIdentifier(
                        {"issuer_and_serial_number": {"issuer": signer.issuer, "serial_number": signer.serial_number}}
                    ),
                    "digest_algorithm": sha256,
                    "signed_attrs": attributes,
                    "signature_algorithm": {"algorithm": "sha256_ecdsa"},
                    "signature": self._key.sign(attributes.untag().dump(force=True), ec.ECDSA(hashes.SHA256())),
                }
            ],
        }
        return cms.ContentInfo({"content_type": "signed_data", "content": cms.SignedData(signed)})


def _certificate(
    subject: str, issuer: str, key: ec.EllipticCurvePrivateKey, issuer_key: ec.EllipticCurvePrivateKey, *, is_root: bool
) -> x509.Certificate:
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(BEGAN - timedelta(days=365))
        .not_valid_after(BEGAN + timedelta(days=3650))
        .add_extension(x509.BasicConstraints(ca=is_root, path_length=None), critical=True)
        .add_extension(
            x509.KeyUsage(
                digital_signature=not is_root,
                key_cert_sign=is_root,
                crl_sign=is_root,
                content_commitment=False,
                key_encipherment=False,
                data_encipherment=False,
                key_agreement=False,
                encipher_only=False,
                decipher_only=False,
            ),
            critical=True,
        )
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
    )
    if not is_root:
        builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.TIME_STAMPING]), critical=True)
    return builder.sign(issuer_key, hashes.SHA256())
