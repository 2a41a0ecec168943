"""The shell commands that repeat a page's checks on the reader's own computer."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from verifier.web.links import is_safe_id


@dataclass(frozen=True, kw_only=True, slots=True)
class Commands:
    """Commands to copy, to be run where the bundle and ROOT.pem are; every value is quoted for the shell."""

    fingerprint: str
    verify: str
    unpack: str
    time_stamps: str


def self_check_commands(report: dict[str, Any], *, archive: str, stamps: Sequence[tuple[str, str]]) -> Commands:
    """Commands for the bundle in the file `archive`; `stamps` has digest and response path of each RFC 3161 anchor."""
    chain_id = str(report["chain_id"])
    # A ledger names the top folder of the zip for the chain (docs/spec/bundle.md, section 8).
    folder = chain_id if is_safe_id(chain_id) else "FOLDER"
    archive = shlex.quote(archive)
    verify = [f"indelible-verify bundle {archive}", "--trust-root ROOT.pem"]
    if report["chain_integrity"]["ok"]:
        verify.append(f"--expect-head {shlex.quote(str(report['head']))}")
    return Commands(
        fingerprint=f"sha256sum {archive}",
        verify=" \\\n    ".join(verify),
        unpack=f"unzip {archive}\ncd {shlex.quote(folder)}\nsha256sum -c tagmanifest-sha256.txt manifest-sha256.txt",
        time_stamps="\n".join(_time_stamp(digest, path) for digest, path in stamps),
    )


def _time_stamp(digest: str, path: str) -> str:
    return (
        f"openssl ts -verify -CAfile ../ROOT.pem \\\n    -digest {shlex.quote(digest)} \\\n    -in {shlex.quote(path)}"
    )
