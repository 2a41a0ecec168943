"""The `bundle` command: verifies a whole bundle."""

import json
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import click

from verifier.bundle import UnusableBundle
from verifier.policy import TrustPolicy, UnusablePolicyError, load_policy
from verifier.printing import print_report
from verifier.report import EXIT_CODES
from verifier.report_text import render
from verifier.rfc3161 import load_certificates
from verifier.rfc3161.certificate import MAX_CERTIFICATE_FILE_SIZE
from verifier.tezos import NodeWitnesses
from verifier.unusable import Unusable
from verifier.verify import verify_bundle

BYTES_WORTH_A_BAR = 16 * 1024 * 1024
"""Less than this is verified before anybody wonders."""

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command(short_help="Verify a bundle, without any network.")
@click.argument("path", type=click.Path(exists=True, path_type=Path))
@click.option("--trust", "trust", type=_FILE, metavar="POLICY.toml", help="Your trust policy.")
@click.option("--trust-root", "trust_roots", type=_FILE, multiple=True, help="Certificates you trust (PEM or DER).")
@click.option("--require", type=click.IntRange(1, 100), help="How many independent good anchors you ask for.")
@click.option("--expect-head", metavar="HEX", help="A fingerprint you know: some event must have it.")
@click.option("--expect-count", type=click.IntRange(1), help="The number of events you know the chain to have.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
@click.option("--online", is_flag=True, help="Ask the nodes that your trust policy names about Tezos blocks.")
@click.pass_context
def bundle(  # noqa: PLR0913 - one parameter per option
    ctx: click.Context,
    *,
    path: Path,
    trust: Path | None,
    trust_roots: tuple[Path, ...],
    require: int | None,
    expect_head: str | None,
    expect_count: int | None,
    as_json: bool,
    online: bool,
) -> None:
    """Verify the bundle at PATH, a zip file or a directory, without any network unless you say --online.

    Nothing is trusted but what you name with --trust or --trust-root: certificates inside a bundle are never trusted
    by themselves.

    Exit code: 0 verified, 1 failed, 3 nothing wrong but trust is missing, 2 unusable input.
    """
    policy = _policy(trust, trust_roots, require)
    if online and not any(trust.nodes for trust in policy.tezos.values()):
        raise click.UsageError(
            "--online asks the nodes that a trust policy names: give one that names some with --trust"
        )
    if expect_head is not None and not re.fullmatch(r"[0-9a-fA-F]{64}", expect_head):
        raise click.UsageError("--expect-head must be 64 hexadecimal digits")
    try:
        with _progress_bar() as progress:
            report = verify_bundle(
                path,
                policy=policy,
                expected_head=bytes.fromhex(expect_head) if expect_head else None,
                expected_count=expect_count,
                progress=progress,
                observer=NodeWitnesses().observe if online else None,
            )
    except UnusableBundle as error:
        raise Unusable(str(error)) from error
    except OSError as error:
        raise Unusable(f"The bundle cannot be read: {error.strerror}") from error
    if as_json:
        print_report(json.dumps(report.to_json(), indent=2, ensure_ascii=True))
    else:
        print_report(render(report))
    ctx.exit(EXIT_CODES[report.verdict])


def _policy(trust: Path | None, trust_roots: tuple[Path, ...], require: int | None) -> TrustPolicy:
    try:
        policy = load_policy(trust) if trust is not None else TrustPolicy()
    except UnusablePolicyError as error:
        raise Unusable(str(error)) from error
    roots: list[bytes] = []
    for path in trust_roots:
        try:
            with path.open("rb") as file:
                roots += load_certificates(file.read(MAX_CERTIFICATE_FILE_SIZE + 1))
        except OSError as error:
            raise Unusable(f"{path} cannot be read: {error.strerror}") from error
        except ValueError as error:
            raise Unusable(f"{path}: {error}") from error
    return replace(policy, extra_roots=tuple(roots), require=require or policy.require)


@contextmanager
def _progress_bar() -> Iterator[Callable[[int, int], None]]:
    """Show progress on standard error if somebody is looking and there is enough to do."""
    bar = None

    def show(done: int, total: int) -> None:
        nonlocal bar
        if bar is None and total >= BYTES_WORTH_A_BAR and sys.stderr.isatty():
            bar = click.progressbar(length=total, label="Verifying", file=sys.stderr)
        if bar is not None:
            bar.update(done - bar.pos)

    try:
        yield show
    finally:
        if bar is not None:
            bar.render_finish()
