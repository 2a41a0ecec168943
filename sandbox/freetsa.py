"""FreeTSA, a real and free time-stamp authority, as an addition to the sandbox's own. Needs the internet."""

import json
from pathlib import Path

import httpx

from sandbox.processes import StartError
from sandbox.stack import ExtraAuthority
from verifier.rfc3161 import load_certificates

NAME = "freetsa"
ROOT_URL = "https://freetsa.org/files/cacert.pem"
_MAX_ROOT_BYTES = 64 * 1024
_FETCH_SECONDS = 20.0


def fetch_freetsa(directory: Path) -> ExtraAuthority:
    """FreeTSA with the root certificate it publishes, fetched over TLS into `directory`. Raises StartError."""
    try:
        answer = httpx.get(ROOT_URL, timeout=_FETCH_SECONDS).raise_for_status()
        [_] = load_certificates(answer.content[:_MAX_ROOT_BYTES])
    except (httpx.HTTPError, ValueError) as error:
        raise StartError(
            f"FreeTSA's root certificate could not be fetched from {ROOT_URL} ({type(error).__name__}: {error}). "
            "The real authority needs the internet; without --authority the demo needs none."
        ) from error
    directory.mkdir(parents=True, exist_ok=True)
    root = directory / f"{NAME}.pem"
    root.write_bytes(answer.content)
    return ExtraAuthority(
        name=NAME,
        root_pem=answer.text,
        configuration=f'[authorities.{NAME}]\npreset = "{NAME}"\nroots = [{json.dumps(str(root))}]\n',
    )
