"""FreeTSA, a real and free time-stamp authority, as an addition to the sandbox's own. Needs the internet."""

import json
from pathlib import Path

import httpx

from sandbox.outside import ExtraAuthority
from sandbox.processes import StartError
from verifier.rfc3161 import load_certificates

NAME = "freetsa"
ROOT_URL = "https://freetsa.org/files/cacert.pem"
_MAX_ROOT_BYTES = 64 * 1024
_FETCH_SECONDS = 20.0


def fetch_freetsa(directory: Path) -> ExtraAuthority:
    """FreeTSA with the root certificate it publishes, fetched over TLS into `directory`. Raises StartError."""
    try:
        pem = _fetch(ROOT_URL).decode("ascii")
        [_] = load_certificates(pem.encode())
    except (httpx.HTTPError, ValueError) as error:
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise StartError(
            f"FreeTSA's root certificate could not be fetched from {ROOT_URL} ({reason}). "
            "The real authority needs the internet; without --authority the demo needs none."
        ) from error
    directory.mkdir(parents=True, exist_ok=True)
    root = directory / f"{NAME}.pem"
    root.write_text(pem)
    return ExtraAuthority(
        name=NAME,
        root_pem=pem,
        configuration=f'[authorities.{NAME}]\npreset = "{NAME}"\nroots = [{json.dumps(str(root))}]\n',
    )


def _fetch(url: str) -> bytes:
    with httpx.stream("GET", url, timeout=_FETCH_SECONDS) as answer:
        answer.raise_for_status()
        content = b""
        for chunk in answer.iter_bytes():
            content += chunk
            if len(content) > _MAX_ROOT_BYTES:
                raise ValueError(f"it sent more than {_MAX_ROOT_BYTES} bytes")
    return content
