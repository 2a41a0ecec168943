"""OpenSSL, as a second implementation: it makes tokens that are valid here, and accepts those of the forge."""

import base64
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.verifier.rfc3161.token_forge import ISSUER, ROOT, SIGNER, Token
from verifier.rfc3161 import TimestampTrust, load_certificates, requested_imprint, verify_token

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="there is no openssl command here")

_SETTINGS = """
[authority]
serial = serial
signer_digest = sha384
default_policy = 1.2.3.4.1
digests = sha256, sha512
accuracy = secs:1, millisecs:500, microsecs:100
ordering = yes
tsa_name = yes
clock_precision_digits = 3
ess_cert_id_chain = yes
ess_cert_id_alg = sha256
"""
_SIGNER = "extendedKeyUsage=critical,timeStamping\nkeyUsage=critical,digitalSignature\n"


def _openssl(folder: Path, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(["openssl", *arguments], cwd=folder, capture_output=True, check=True)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "settings").write_text(_SETTINGS)
    (tmp_path / "extensions").write_text(_SIGNER)
    (tmp_path / "serial").write_text("01")
    (tmp_path / "data").write_bytes(b"the data")
    return tmp_path


def test_a_token_made_by_openssl_is_valid(folder: Path) -> None:
    curve = ("ec", "-pkeyopt", "ec_paramgen_curve:P-384", "-nodes")
    root = ("-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign")
    _openssl(folder, "req", "-x509", "-newkey", *curve, "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=CA", *root)
    _openssl(folder, "req", "-newkey", *curve, "-keyout", "tsa.key", "-out", "tsa.csr", "-subj", "/O=X/CN=TSA")
    issue = ("-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-extfile", "extensions")
    _openssl(folder, "x509", "-req", "-in", "tsa.csr", *issue, "-out", "tsa.pem")
    _openssl(folder, "ts", "-query", "-data", "data", "-sha512", "-cert", "-out", "asked")
    keys = ("-signer", "tsa.pem", "-inkey", "tsa.key", "-chain", "ca.pem")
    settings = ("-config", "settings", "-section", "authority")
    _openssl(folder, "ts", "-reply", *settings, "-queryfile", "asked", *keys, "-out", "answer")

    query = (folder / "asked").read_bytes()
    imprint = requested_imprint(query)
    assert imprint is not None
    result = verify_token(
        (folder / "answer").read_bytes(),
        digest=imprint[1],
        hash_algorithm=imprint[0],
        trust=(TimestampTrust(roots=load_certificates((folder / "ca.pem").read_bytes())),),
        query=query,
    )
    assert result.ok, result.findings
    assert result.accuracy_microseconds == 1_500_100


def test_a_token_of_the_forge_is_accepted_by_openssl(folder: Path) -> None:
    for name, certificates in {"root.pem": (ROOT.der,), "chain.pem": (ISSUER.der, SIGNER.der)}.items():
        blocks = (base64.encodebytes(certificate).decode() for certificate in certificates)
        text = "".join(f"-----BEGIN CERTIFICATE-----\n{block}-----END CERTIFICATE-----\n" for block in blocks)
        (folder / name).write_text(text)
    (folder / "answer").write_bytes(Token().response)
    # 1 June 2024, the time in the token: the forge's certificates end in 2030.
    judged = ("-CAfile", "root.pem", "-untrusted", "chain.pem", "-attime", "1717243200")
    result = _openssl(folder, "ts", "-verify", "-data", "data", "-in", "answer", *judged)
    assert b"Verification: OK" in result.stdout + result.stderr
