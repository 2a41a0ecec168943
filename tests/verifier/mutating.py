"""What tests of mutated bundles have in common."""

import io
from collections.abc import Callable
from typing import Any

from tests.verifier.bundle_forge import (
    Chain,
    Files,
    zipped,
)
from verifier.policy import TrustPolicy
from verifier.report import Report
from verifier.verify import verify_bundle


def verify(files: Files, policy: TrustPolicy | None = None, **known: Any) -> Report:
    return verify_bundle(io.BytesIO(zipped(files)), policy=policy or TrustPolicy(), **known)


def errors(report: Report) -> set[str]:
    return {finding.code for finding in report.findings if finding.severity == "error"}


def session(change: Callable[[Chain], object]) -> Chain:
    """Two good events, then what `change` adds."""
    chain = Chain().open().add("door.opened", {"n": 1})
    change(chain)
    return chain


def rename(chain: Chain, text: bytes, other: bytes, index: int) -> Chain:
    assert text in chain.lines[index]
    chain.lines[index] = chain.lines[index].replace(text, other)
    return chain
