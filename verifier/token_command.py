"""The `token` command: one time-stamp token, judged by itself."""

import hashlib
import json
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import click

from verifier.findings import Finding
from verifier.printing import print_report
from verifier.rfc3161 import (
    TimestampTrust,
    TokenResult,
    load_certificates,
    requested_imprint,
    stated_imprint,
    verify_token,
)
from verifier.rfc3161.algorithms import DIGEST_SIZES
from verifier.rfc3161.der import MAX_TOKEN_SIZE
from verifier.rfc3161.explain import explain
from verifier.rfc3161.names import printable
from verifier.rfc3161.trusted_list import MAX_LIST_SIZE
from verifier.unusable import Unusable

VERDICTS = {"valid": "VERIFIED", "invalid": "FAILED", "untrusted": "INDETERMINATE"}
EXIT_CODES = {"VERIFIED": 0, "FAILED": 1, "INDETERMINATE": 3}

# A file of certificates; load_certificates has the real limit.
_MAX_FILE = 16 * 1024 * 1024

_OID = re.compile(r"[0-2](\.(0|[1-9][0-9]{0,38}))+")

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


class _Instant(click.ParamType[datetime]):
    """A date and time as in RFC 3339, with its time zone."""

    name = "RFC3339"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        try:
            instant = datetime.fromisoformat(str(value))
        except ValueError:
            self.fail(f"{value!r} is not a time such as 2026-01-31T12:00:00Z", param, ctx)
        if instant.tzinfo is None:
            self.fail(f"{value!r} has no time zone; write 2026-01-31T12:00:00Z", param, ctx)
        return instant.astimezone(UTC)


@click.command(short_help="Check one RFC 3161 time-stamp.")
@click.argument("tsr", type=_FILE)
@click.option("--data", type=_FILE, help="The file that was time-stamped.")
@click.option("--digest", metavar="HEX", help="Its digest, instead of the file.")
@click.option(
    "--hash-algorithm", type=click.Choice(sorted(DIGEST_SIZES)), help="How the digest was made; by its length."
)
@click.option("--trust-root", "trust_roots", type=_FILE, multiple=True, help="Certificates you trust (PEM or DER).")
@click.option("--untrusted", type=_FILE, multiple=True, help="Certificates that may help to reach a trusted one.")
@click.option("--query", type=_FILE, help="The request as it was sent: its policy, nonce and data are then compared.")
@click.option("--policy", "policies", metavar="OID", multiple=True, help="Accept only time-stamps under this policy.")
@click.option("--at", type=_Instant(), help="Judge certificates at this time, not at the time of the time-stamp.")
@click.option("--valid-from", type=_Instant(), help="The trusted certificates vouch for no time before this one.")
@click.option("--valid-to", type=_Instant(), help="The trusted certificates vouch for no time after this one.")
@click.option("--trusted-list", "trusted_lists", type=_FILE, multiple=True, help="An EU trusted list (XML) you trust.")
@click.option(
    "--allow-granted-with-mods", is_flag=True, help="Accept a time-stamp granted with modifications to the request."
)
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
@click.pass_context
def token(  # noqa: PLR0913 - one parameter per option
    ctx: click.Context,
    *,
    tsr: Path,
    data: Path | None,
    digest: str | None,
    hash_algorithm: str | None,
    trust_roots: tuple[Path, ...],
    untrusted: tuple[Path, ...],
    query: Path | None,
    policies: tuple[str, ...],
    at: datetime | None,
    valid_from: datetime | None,
    valid_to: datetime | None,
    trusted_lists: tuple[Path, ...],
    allow_granted_with_mods: bool,
    as_json: bool,
) -> None:
    """Check one RFC 3161 time-stamp, TSR, over a file or a digest.

    TSR is the authority's response, or the bare token in it. Give the data (--data or --digest); with --query alone,
    what is checked is that the time-stamp answers that request. Nothing is trusted but what you name with
    --trust-root: certificates inside a time-stamp are never trusted by themselves.

    Exit code: 0 verified, 1 failed, 3 nothing wrong but trust is missing, 2 unusable input.
    """
    for policy in policies:
        if not _OID.fullmatch(policy):
            raise click.UsageError(f"--policy {policy} is not an identifier such as 1.3.6.1.4.1.6449")
    received = _read(tsr, MAX_TOKEN_SIZE + 1)
    request = _read(query, MAX_TOKEN_SIZE + 1) if query else None
    algorithm, expected = _expected(received, data, digest, hash_algorithm, request)
    trust = TimestampTrust(roots=_certificates(trust_roots), valid_from=valid_from, valid_to=valid_to)
    result = verify_token(
        received,
        digest=expected,
        hash_algorithm=algorithm,
        trust=(trust,),
        hints=_certificates(untrusted),
        query=request,
        trusted_lists=tuple(_read(path, MAX_LIST_SIZE + 1) for path in trusted_lists),
        at=at,
        required_policies=frozenset(policies),
        allow_granted_with_mods=allow_granted_with_mods,
    )
    verdict = VERDICTS[result.status]
    if as_json:
        print_report(json.dumps(_report(result, verdict), indent=2, ensure_ascii=True))
    else:
        heading = [("Time-stamp", printable(tsr.name)), ("Data", f"{algorithm} {expected.hex()}")]
        print_report("\n".join(explain(result, verdict, heading)))
    ctx.exit(EXIT_CODES[verdict])


def _read(path: Path, limit: int) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(limit)
    except OSError as error:
        raise Unusable(f"{path} cannot be read: {error.strerror}") from error


def _certificates(paths: Sequence[Path]) -> tuple[bytes, ...]:
    found: list[bytes] = []
    for path in paths:
        try:
            found += load_certificates(_read(path, _MAX_FILE))
        except ValueError as error:
            raise Unusable(f"{path}: {error}") from error
    return tuple(found)


def _expected(
    received: bytes, data: Path | None, digest: str | None, algorithm: str | None, request: bytes | None
) -> tuple[str, bytes]:
    """What the time-stamp must be about: an algorithm's name and a digest."""
    if (data is not None) + (digest is not None) > 1:
        raise click.UsageError("give --data or --digest, not both")
    if data is not None:
        stated = stated_imprint(received)
        algorithm = algorithm or (stated[0] if stated else "sha256")
        try:
            with data.open("rb") as file:
                return algorithm, hashlib.file_digest(file, algorithm.replace("sha3-", "sha3_")).digest()
        except OSError as error:
            raise Unusable(f"{data} cannot be read: {error.strerror}") from error
    if digest is not None:
        return _parse_digest(digest, algorithm)
    imprint = requested_imprint(request) if request is not None else None
    if request is None:
        raise click.UsageError("give what was time-stamped: --data FILE or --digest HEX, or --query for its request")
    if imprint is None:
        raise Unusable("the request given with --query cannot be read")
    return imprint


def _parse_digest(text: str, algorithm: str | None) -> tuple[str, bytes]:
    try:
        digest = bytes.fromhex(text)
    except ValueError as error:
        raise click.UsageError("--digest is not hexadecimal") from error
    # Without a name the length decides among the SHA-2 family, SHA-256 in the usual case.
    by_length = {size: name for name, size in DIGEST_SIZES.items() if not name.startswith("sha3-")}
    algorithm = algorithm or by_length.get(len(digest), "sha256")
    if len(digest) != DIGEST_SIZES[algorithm]:
        raise click.UsageError(f"--digest has {len(digest)} bytes; {algorithm} gives {DIGEST_SIZES[algorithm]}")
    return algorithm, digest


def _report(result: TokenResult, verdict: str) -> dict[str, object]:
    """The verification report, as far as it concerns a token by itself."""
    return {
        "verdict": verdict,
        "tokens": [
            {
                "ok": result.ok,
                "status": result.status,
                "backend": "rfc3161",
                "authority": result.signer,
                "signer": result.signer,
                "sequence": None,
                "time": _time(result),
                "time_accuracy": result.accuracy_microseconds,
                "qualified": result.qualified,
                "revocation": result.revocation,
                "policy": result.policy,
                "serial_number": None if result.serial_number is None else str(result.serial_number),
                "findings": [_finding(finding) for finding in result.findings],
            }
        ],
        "findings": [],
    }


def _finding(finding: Finding) -> dict[str, str]:
    return {
        "code": finding.code,
        "severity": finding.severity.value,
        "where": finding.where,
        "message": finding.message,
    }


def _time(result: TokenResult) -> str | None:
    return result.time.isoformat(timespec="microseconds").replace("+00:00", "Z") if result.time else None
