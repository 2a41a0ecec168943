"""Makes bundles and time-stamps for tests, from docs/spec alone, so that any single part of them can be made wrong."""

import hashlib
import io
import json
import struct
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from asn1crypto import algos, cms, core, tsp
from asn1crypto import x509 as asn1_x509
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
STARTED = datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC)
STAMPED = datetime(2026, 1, 2, 4, 0, 0, tzinfo=UTC)
Files = dict[str, bytes]


def canonical(value: Any) -> bytes:
    """Good enough for the ASCII names and simple numbers that the tests write."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def time_text(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def microseconds(moment: datetime) -> int:
    return (moment - EPOCH) // timedelta(microseconds=1)


def event_hash(sequence: int, prev: bytes, kind: str, payload: bytes, moment: int) -> bytes:
    name = kind.encode()
    head = struct.pack(">Q", sequence) + prev + struct.pack(">I", len(name)) + name
    return hashlib.sha256(head + struct.pack(">I", len(payload)) + payload + struct.pack(">q", moment)).digest()


def merkle_root(leaves: list[bytes]) -> bytes:
    """RFC 9162, 2.1.1, word for word."""
    if len(leaves) == 1:
        return hashlib.sha256(b"\x00" + leaves[0]).digest()
    half = 1
    while half * 2 < len(leaves):
        half *= 2
    return hashlib.sha256(b"\x01" + merkle_root(leaves[:half]) + merkle_root(leaves[half:])).digest()


@dataclass
class Chain:
    """A chain under construction. `add` takes overrides to make an event wrong in one way."""

    chain_id: str = "demo-1"
    chain_type: str = "session"
    organisation: dict[str, str] = field(default_factory=lambda: {"id": "acme", "name": "Acme Security"})
    hashes: list[bytes] = field(default_factory=list)
    lines: list[bytes] = field(default_factory=list)
    moment: datetime = STARTED

    def open(self, **override: Any) -> "Chain":
        return self.add("chain.opened", self.opening(**override))

    def opening(self, **override: Any) -> dict[str, Any]:
        return {
            "chain_id": self.chain_id,
            "chain_type": self.chain_type,
            "format": "indelible-chain/1",
            "organisation": self.organisation,
            "subject": {"case": "A-17"},
        } | override

    def checkpoint(self, kind: str = "chain.checkpointed", **override: Any) -> "Chain":
        payload = {"merkle_root": merkle_root(self.hashes).hex(), "tree_size": len(self.hashes)}
        return self.add(kind, payload | override)

    def close(self, **override: Any) -> "Chain":
        return self.checkpoint("chain.closed", **override)

    def add(self, kind: str, payload: Any, **override: Any) -> "Chain":
        raw = payload if isinstance(payload, bytes) else canonical(payload)
        sequence = override.get("sequence", len(self.hashes) + 1)
        prev = override.get("prev_hash", self.hashes[-1] if self.hashes else bytes(32))
        moment = override.get("moment", self.moment)
        self.moment = moment + timedelta(seconds=1)
        digest = override.get("hash") or event_hash(sequence, prev, kind, raw, microseconds(moment))
        frame = f'{{"hash":"{digest.hex()}","kind":"{kind}","occurred_at":"{time_text(moment)}","payload":'
        self.lines.append(frame.encode() + raw + b',"prev_hash":"%s","sequence":%d}' % (prev.hex().encode(), sequence))
        self.hashes.append(digest)
        return self

    @property
    def events(self) -> bytes:
        return b"".join(line + b"\n" for line in self.lines)


def short_session() -> Chain:
    chain = Chain().open()
    chain.add("door.opened", {"angle": 0.5, "door": "north", "note": "é ☃"})
    chain.add("session.user_joined", {"user": {"id": 7, "name": 'Ann "A" \\ \n'}, "tags": ["a", None, True, -1]})
    return chain.close()


class Authority:
    """A time-stamp authority of its own: a root and a signer, both on P-256."""

    def __init__(self, name: str) -> None:
        self.name = name
        root_key, self._key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
        self._root_key = root_key
        self.root = self.reissued_root()
        self.signer = _certificate(f"{name} signer", f"{name} root", self._key, root_key, is_root=False)

    def reissued_root(self) -> x509.Certificate:
        """A further certificate for the root's name and key."""
        return _certificate(f"{self.name} root", f"{self.name} root", self._root_key, self._root_key, is_root=True)

    @property
    def root_pem(self) -> str:
        return self.root.public_bytes(serialization.Encoding.PEM).decode()

    @property
    def root_der(self) -> bytes:
        return self.root.public_bytes(serialization.Encoding.DER)

    @property
    def signer_der(self) -> bytes:
        return self.signer.public_bytes(serialization.Encoding.DER)

    def stamp(self, digest: bytes, *, moment: datetime = STAMPED, embed: bool = True) -> tuple[bytes, bytes]:
        """The request and the response for a SHA-256 digest."""
        imprint = {"hash_algorithm": {"algorithm": "sha256"}, "hashed_message": digest}
        nonce = int.from_bytes(hashlib.sha256(digest + self.name.encode()).digest()[:8], "big") >> 1
        request = tsp.TimeStampReq(
            {"version": 1, "message_imprint": imprint, "nonce": nonce, "cert_req": embed},
        )
        info = tsp.TSTInfo(
            {
                "version": 1,
                "policy": "1.3.6.1.4.1.99999.1",
                "message_imprint": imprint,
                "serial_number": nonce >> 3,
                "gen_time": moment,
                "nonce": nonce,
            }
        )
        token = self._sign(info.dump(), embed=embed)
        response = tsp.TimeStampResp({"status": {"status": "granted"}, "time_stamp_token": token})
        return request.dump(), response.dump()

    def _sign(self, content: bytes, *, embed: bool) -> cms.ContentInfo:
        signer = asn1_x509.Certificate.load(self.signer_der)
        sha256 = algos.DigestAlgorithm({"algorithm": "sha256"})
        certificate_id = tsp.ESSCertIDv2(
            {"hash_algorithm": sha256, "cert_hash": hashlib.sha256(self.signer_der).digest()}
        )
        signing_certificate = tsp.SigningCertificateV2({"certs": [certificate_id]})
        attributes = cms.CMSAttributes(
            [
                cms.CMSAttribute({"type": "content_type", "values": ["tst_info"]}),
                cms.CMSAttribute({"type": "message_digest", "values": [hashlib.sha256(content).digest()]}),
                cms.CMSAttribute({"type": "signing_certificate_v2", "values": [signing_certificate]}),
            ]
        )
        name = {"issuer": signer.issuer, "serial_number": signer.serial_number}
        signed: dict[str, Any] = {
            "version": "v3",
            "digest_algorithms": [sha256],
            "encap_content_info": {"content_type": "tst_info", "content": core.ParsableOctetString(content)},
            "signer_infos": [
                {
                    "version": "v1",
                    "sid": cms.SignerIdentifier({"issuer_and_serial_number": name}),
                    "digest_algorithm": sha256,
                    "signed_attrs": attributes,
                    "signature_algorithm": {"algorithm": "sha256_ecdsa"},
                    "signature": self._key.sign(attributes.untag().dump(force=True), ec.ECDSA(hashes.SHA256())),
                }
            ],
        }
        if embed:
            signed["certificates"] = [signer]
        return cms.ContentInfo({"content_type": "signed_data", "content": cms.SignedData(signed)})


def _certificate(
    subject: str, issuer: str, key: ec.EllipticCurvePrivateKey, issuer_key: ec.EllipticCurvePrivateKey, *, is_root: bool
) -> x509.Certificate:
    other_uses = ["content_commitment", "key_encipherment", "data_encipherment", "key_agreement"]
    usage = dict.fromkeys([*other_uses, "encipher_only", "decipher_only"], False)
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(STARTED - timedelta(days=365))
        .not_valid_after(STARTED + timedelta(days=3650))
        .add_extension(x509.BasicConstraints(ca=is_root, path_length=None), critical=True)
        .add_extension(
            x509.KeyUsage(digital_signature=not is_root, key_cert_sign=is_root, crl_sign=is_root, **usage),
            critical=True,
        )
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
    )
    if not is_root:
        builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.TIME_STAMPING]), critical=True)
    return builder.sign(issuer_key, hashes.SHA256())


def data_files(
    chain: Chain,
    anchors: Iterable[tuple[Authority, int]] = (),
    *,
    edit: Callable[[dict[str, Any]], object] | None = None,
    extra: Files | None = None,
    embed: bool = True,
) -> Files:
    """The files under data/ of a chain anchored by the given authorities at the given sequences.

    `edit` may change what bundle.json says before it is written.
    """
    files: Files = {"data/README.txt": b"Check me by hand.\n", "data/events.jsonl": chain.events, **(extra or {})}
    entries = []
    for authority, sequence in anchors:
        digest = chain.hashes[sequence - 1]
        stem = f"data/anchors/{sequence}-rfc3161-{authority.name}"
        files[f"{stem}.tsq"], files[f"{stem}.tsr"] = authority.stamp(digest, embed=embed)
        entries.append(
            {
                "aggregation": None,
                "authority": authority.name,
                "backend": "rfc3161",
                "digest": digest.hex(),
                "files": {"request": f"{stem}.tsq", "response": f"{stem}.tsr"},
                "obtained_at": time_text(STAMPED + timedelta(seconds=2)),
                "sequence": sequence,
            }
        )
    last = chain.moment - timedelta(seconds=1)
    statement: dict[str, Any] = {
        "anchors": sorted(entries, key=lambda entry: (entry["sequence"], entry["backend"], entry["authority"])),
        "chain_id": chain.chain_id,
        "event_count": len(chain.lines),
        "exported_at": max([time_text(last), *(str(entry["obtained_at"]) for entry in entries)]),
        "format": "indelible-bundle/1",
        "head": chain.hashes[-1].hex(),
        "organisation": chain.organisation,
        "pending": [],
    }
    if edit is not None:
        edit(statement)
    files["data/bundle.json"] = canonical(statement)
    return files


def sealed(files: Files) -> Files:
    """All files of the bag around `files`, with fitting tag files."""
    statement = json.loads(files["data/bundle.json"])
    octets = sum(len(content) for content in files.values())
    tags = {
        "bag-info.txt": (
            f"Bagging-Date: {statement['exported_at'][:10]}\nExternal-Identifier: {statement['chain_id']}\n"
            f"Payload-Oxum: {octets}.{len(files)}\n"
        ).encode(),
        "bagit.txt": b"BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n",
        "manifest-sha256.txt": manifest(files),
    }
    return {**files, **tags, "tagmanifest-sha256.txt": manifest(tags)}


def manifest(files: Files) -> bytes:
    return b"".join(f"{hashlib.sha256(files[name]).hexdigest()}  {name}\n".encode() for name in sorted(files))


def zipped(files: Files, *, base: str = "demo-1/", method: int = zipfile.ZIP_STORED) -> bytes:
    """The zip file that docs/spec/bundle.md, section 8, prescribes."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", method) as archive:
        for name in sorted(files):
            info = zipfile.ZipInfo(base + name)
            info.create_system, info.external_attr, info.compress_type = 3, 0o100644 << 16, method
            archive.writestr(info, files[name])
    return target.getvalue()


def write_directory(files: Files, folder: Path) -> Path:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder
