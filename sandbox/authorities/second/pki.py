"""Keys and certificates of `sandbox-two`: a root and a signer directly under it, ECDSA P-256, and the root's CRL."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

POLICY = "1.3.6.1.4.1.99999.2.1"  # an arc nobody has registered

_ROOT_YEARS = 30
_SIGNER_YEARS = 10
_CRL_DAYS = 7


@dataclass(frozen=True, kw_only=True, slots=True)
class Identity:
    """A certificate with the key that belongs to it."""

    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    @property
    def der(self) -> bytes:
        """The certificate, DER."""
        return self.certificate.public_bytes(serialization.Encoding.DER)


def load_or_create_root(directory: Path) -> Identity:
    """The root kept in `directory`, made at the first start."""
    certificate_path = directory / "root.certificate.pem"
    key = _load_or_create_key(directory / "root.key.pem")
    if certificate_path.exists():
        return Identity(key=key, certificate=x509.load_pem_x509_certificate(certificate_path.read_bytes()))
    root = new_root(key, common_name="Sandbox Two Root")
    staged = certificate_path.with_suffix(".new")
    staged.write_bytes(root.certificate.public_bytes(serialization.Encoding.PEM))
    staged.replace(certificate_path)
    return root


def new_root(key: ec.EllipticCurvePrivateKey, *, common_name: str) -> Identity:
    """A self-signed root for `key`, valid from yesterday."""
    begin = datetime.now(tz=UTC) - timedelta(days=1)
    name = _name(common_name)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(begin + timedelta(days=365 * _ROOT_YEARS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(key_cert_sign=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    return Identity(key=key, certificate=builder.sign(key, hashes.SHA256()))


def issue_signer(
    root: Identity, key: ec.EllipticCurvePrivateKey, *, crl_url: str | None, expired: bool = False
) -> Identity:
    """A time-stamp signer's certificate for `key`, issued by `root`; `expired` makes one that ended yesterday."""
    now = datetime.now(tz=UTC)
    begin = now - timedelta(days=365 if expired else 1)
    end = now - timedelta(days=1) if expired else begin + timedelta(days=365 * _SIGNER_YEARS)
    builder = (
        x509.CertificateBuilder()
        .subject_name(_name("Sandbox Two Time-Stamp Authority"))
        .issuer_name(root.certificate.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(end)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(key_cert_sign=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.TIME_STAMPING]), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(root.certificate.public_key()),  # type: ignore[arg-type]  # always an EC key
            critical=False,
        )
    )
    if crl_url is not None:
        point = x509.DistributionPoint(
            full_name=[x509.UniformResourceIdentifier(crl_url)], relative_name=None, reasons=None, crl_issuer=None
        )
        builder = builder.add_extension(x509.CRLDistributionPoints([point]), critical=False)
    return Identity(key=key, certificate=builder.sign(root.key, hashes.SHA256()))


def load_or_create_signer_key(directory: Path) -> ec.EllipticCurvePrivateKey:
    """The signer's key kept in `directory`; its certificate is issued at each start, for the address of the day."""
    return _load_or_create_key(directory / "signer.key.pem")


def make_crl(root: Identity, *, revoked: Identity | None = None) -> bytes:
    """The root's revocation list as of now, DER. Empty, or it says that the key of `revoked` was stolen yesterday."""
    now = datetime.now(tz=UTC)
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(root.certificate.subject)
        .last_update(now - timedelta(minutes=1))
        .next_update(now + timedelta(days=_CRL_DAYS))
        .add_extension(x509.CRLNumber(int(now.timestamp())), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(root.certificate.public_key()),  # type: ignore[arg-type]  # always an EC key
            critical=False,
        )
    )
    if revoked is not None:
        entry = (
            x509.RevokedCertificateBuilder()
            .serial_number(revoked.certificate.serial_number)
            .revocation_date(now - timedelta(days=1))
            .add_extension(x509.CRLReason(x509.ReasonFlags.key_compromise), critical=False)
        )
        builder = builder.add_revoked_certificate(entry.build())
    return builder.sign(root.key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


def _load_or_create_key(path: Path) -> ec.EllipticCurvePrivateKey:
    if path.exists():
        key = serialization.load_pem_private_key(path.read_bytes(), password=None)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise ValueError(f"{path} holds another kind of key than this authority uses")
        return key
    key = ec.generate_private_key(ec.SECP256R1())
    staged = path.with_suffix(".new")
    staged.touch(mode=0o600)
    staged.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    staged.replace(path)
    return key


def _name(common_name: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.COUNTRY_NAME, "IS"),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Indelible Sandbox Two"),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ]
    )


def _key_usage(*, key_cert_sign: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not key_cert_sign,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=key_cert_sign,
        crl_sign=key_cert_sign,
        encipher_only=False,
        decipher_only=False,
    )
