"""`sandbox-one`: certomancer's own PKI and its own web application, configured and served.

Three levels (root, issuing authority, time-stamp signer), RSA keys, CRL for both levels and OCSP for the signer.
RSA signatures are deterministic, so the certificates come out the same at every start as long as keys and
configuration do; only the port inside the CRL and OCSP addresses may differ.
"""

import json
import socket
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import waitress  # type: ignore[import-untyped]  # it ships no type information
from asn1crypto import pem
from certomancer.integrations.animator import Animator, AnimatorArchStore
from certomancer.registry import ArchLabel, CertLabel, CertomancerConfig
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from werkzeug.wrappers import Request

POLICY = "1.3.6.1.4.1.4146.2.3"  # certomancer's fixed policy; it cannot be configured
MAX_REQUEST_BYTES = 64 * 1024

_ARCHITECTURE = "sandbox-one"
_KEYS = ("root", "issuing", "tsa", "ocsp")
_KEY_BITS = 2048


def serve(directory: Path, listener: socket.socket, announce: Callable[[str, bytes], None]) -> None:
    """Serve the authority that lives in `directory` on `listener` until the process ends.

    `announce(url, root_pem)` is called once, when the authority is ready to answer.
    """
    port = listener.getsockname()[1]
    config = _configuration(directory, f"http://127.0.0.1:{port}")
    architectures = CertomancerConfig(config, key_search_dir=str(directory)).pki_archs
    app = _Animator(AnimatorArchStore(architectures), with_web_ui=False, allow_time_override=False)
    root = architectures[ArchLabel(_ARCHITECTURE)].get_cert(CertLabel("root"))
    server = waitress.create_server(app, sockets=[listener], threads=8, max_request_body_size=MAX_REQUEST_BYTES)
    announce(f"http://127.0.0.1:{port}/{_ARCHITECTURE}/tsa/tsa", pem.armor("CERTIFICATE", root.dump()))
    server.run()


class _Animator(Animator):
    def at_time(self, request: Request) -> datetime:
        """Now. In OCSP responses without the fraction, which RFC 5280 section 4.1.2.5.2 forbids there."""
        now: datetime = super().at_time(request)  # type: ignore[no-untyped-call]  # certomancer has few types
        return now.replace(microsecond=0) if "/ocsp/" in request.path else now


def _configuration(directory: Path, url_prefix: str) -> dict[str, Any]:
    """The configuration kept in `directory`, made at the first start, with today's address."""
    path = directory / "certomancer.json"
    if not path.exists():
        for name in _KEYS:
            _write_key(directory / f"{name}.key.pem")
        staged = path.with_suffix(".new")
        staged.write_text(json.dumps(_new_configuration(datetime.now(tz=UTC)), indent=1), encoding="utf-8")
        staged.replace(path)  # last: a start that was interrupted begins again
    config: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    config["external-url-prefix"] = url_prefix
    return config


def _write_key(path: Path) -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=_KEY_BITS)
    path.touch(mode=0o600)
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )


def _new_configuration(now: datetime) -> dict[str, Any]:
    """What certomancer calls an architecture: entities, certificates and services, in its own words."""
    begin = now - timedelta(days=1)
    crl_repo = {"schema": "crl-dist-url"}
    signing_only = {
        "id": "key_usage",
        "critical": True,
        "smart-value": {"schema": "key-usage", "params": ["digital_signature"]},
    }
    return {
        "keysets": {_ARCHITECTURE: {"keys": {name: {"path": f"{name}.key.pem"} for name in _KEYS}}},
        "pki-architectures": {
            _ARCHITECTURE: {
                "keyset": _ARCHITECTURE,
                "entity-defaults": {"country-name": "IE", "organization-name": "Indelible Sandbox One"},
                "entities": {
                    "root": {"common-name": "Sandbox One Root"},
                    "issuing": {"common-name": "Sandbox One Issuing Authority"},
                    "tsa": {"common-name": "Sandbox One Time-Stamp Authority"},
                    "ocsp": {"common-name": "Sandbox One OCSP Responder"},
                },
                "certs": {
                    "root": {
                        "subject": "root",
                        "issuer": "root",
                        "validity": _validity(begin, years=30),
                        "extensions": _ca_extensions(),
                    },
                    "issuing": {
                        "issuer": "root",
                        "validity": _validity(begin, years=20),
                        "extensions": [
                            *_ca_extensions(path_length=0),
                            {
                                "id": "crl_distribution_points",
                                "smart-value": {**crl_repo, "params": {"crl-repo-names": ["root"]}},
                            },
                        ],
                    },
                    "ocsp": {
                        "issuer": "issuing",
                        "validity": _validity(begin, years=10),
                        "extensions": [
                            signing_only,
                            {"id": "extended_key_usage", "critical": True, "value": ["ocsp_signing"]},
                            {"id": "ocsp_no_check"},
                        ],
                    },
                    "tsa": {
                        "issuer": "issuing",
                        "validity": _validity(begin, years=10),
                        "extensions": [
                            signing_only,
                            {"id": "extended_key_usage", "critical": True, "value": ["time_stamping"]},
                            {
                                "id": "crl_distribution_points",
                                "smart-value": {**crl_repo, "params": {"crl-repo-names": ["issuing"]}},
                            },
                            {
                                "id": "authority_information_access",
                                "smart-value": {"schema": "aia-urls", "params": {"ocsp-responder-names": ["issuing"]}},
                            },
                        ],
                    },
                },
                "services": {
                    "ocsp": {"issuing": {"for-issuer": "issuing", "responder-cert": "ocsp", "signing-key": "ocsp"}},
                    "crl-repo": {
                        name: {"for-issuer": name, "signing-key": name, "simulated-update-schedule": "P7D"}
                        for name in ("root", "issuing")
                    },
                    "time-stamping": {"tsa": {"signing-cert": "tsa", "certs-to-embed": ["issuing"]}},
                },
            }
        },
    }


def _validity(begin: datetime, *, years: int) -> dict[str, str]:
    end = begin + timedelta(days=365 * years)
    return {"valid-from": begin.isoformat(timespec="seconds"), "valid-to": end.isoformat(timespec="seconds")}


def _ca_extensions(*, path_length: int | None = None) -> list[dict[str, Any]]:
    constraints: dict[str, Any] = {"ca": True}
    if path_length is not None:
        constraints["path-len-constraint"] = path_length
    return [
        {"id": "basic_constraints", "critical": True, "value": constraints},
        {
            "id": "key_usage",
            "critical": True,
            "smart-value": {"schema": "key-usage", "params": ["key_cert_sign", "crl_sign"]},
        },
    ]
