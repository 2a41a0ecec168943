"""What an anchor's kind means, in words: who vouches for the time, and what was checked before it was believed."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_COMMITS = (
    "That event commits to every event before it, so events 1 to {sequence} existed then, exactly as they are here."
)
_REVOCATION = {
    "GOOD-AT-GENTIME": "No: signed evidence in the bundle shows that it was good at that time.",
    "NO-EVIDENCE": "Not known: the bundle holds no evidence either way.",
    "REVOKED": "Yes, and in a way that this time stamp does not survive.",
}
_QUALIFIED = {
    "QUALIFIED": "Yes: its authority was granted that status at that time.",
    "NOT-QUALIFIED": "No: its authority did not have that status at that time.",
    "UNKNOWN": "Not known: the bundle holds no official list to tell. The time stamp counts all the same.",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class KindOfAnchor:
    """The words for one backend. `proves` may name the {authority}, the {sequence} and the {block}."""

    proves: str
    checks: tuple[str, ...]
    has_certificate: bool


_KINDS = {
    "rfc3161": KindOfAnchor(
        proves="{authority} signed the fingerprint of event {sequence} at the time given. " + _COMMITS,
        checks=(
            "The time stamp is for the fingerprint of this very event, as this page computed it.",
            "It answers the request that was sent, and is no older answer used again.",
            "Its signature fits its content and the certificate it names.",
            "That certificate was made for time stamping and for nothing else, and was valid at the time stated.",
            "It was issued, step by step, under a root certificate that this page was told to trust.",
            "No evidence in the bundle says that it was revoked.",
        ),
        has_certificate=True,
    ),
    "tezos": KindOfAnchor(
        proves="The fingerprint of event {sequence}, alone or under a common root with others, stands in block {block} "
        "of the public Tezos ledger, made at the time given. " + _COMMITS,
        checks=(
            "The receipt is for the fingerprint of this very event, as this page computed it.",
            "The transaction that carried it was signed by the account named here.",
            "The transaction leads, step by step, to the fingerprint of the block.",
            "The block is one that this page was told to trust.",
        ),
        has_certificate=False,
    ),
    "opentimestamps": KindOfAnchor(
        proves="Block {block} of the public Bitcoin ledger commits to the fingerprint of event {sequence}, so it "
        "existed not later than that block; the clock of whoever made the block may be wrong by two hours. " + _COMMITS,
        checks=(
            "The proof is for the fingerprint of this very event, as this page computed it.",
            "It leads, step by step, to the summary that the block's header holds.",
            "The header is one that this page was told to trust, and it carries the work that Bitcoin demands.",
        ),
        has_certificate=False,
    ),
}
_TEST_NETWORK = KindOfAnchor(
    proves="Nothing outside of tests: it leads to block {block} of a test network, where anybody can make blocks.",
    checks=(
        "The proof is for the fingerprint of this very event, as this page computed it.",
        "It leads, step by step, to the summary that the header of a block of the test network holds.",
    ),
    has_certificate=False,
)
_OTHER = KindOfAnchor(proves="{authority} vouches for event {sequence}.", checks=(), has_certificate=False)


def proves(token: Mapping[str, Any], authority: str) -> str:
    """What a token of the report proves; `authority` is its name, fit to be shown."""
    if not token["ok"]:
        return "Nothing, as long as it does not pass."
    words = _kind(token).proves
    return words.format(authority=authority, sequence=token["sequence"], block=token["block"])


def checks(token: Mapping[str, Any]) -> tuple[str, ...]:
    """The checks that a token passed."""
    return _kind(token).checks if token["ok"] else ()


def revocation(token: Mapping[str, Any]) -> str:
    """Whether its certificate was revoked; "" where there is none."""
    return _REVOCATION.get(token["revocation"], _REVOCATION["NO-EVIDENCE"]) if _kind(token).has_certificate else ""


def qualified(token: Mapping[str, Any]) -> str:
    """Its standing under eIDAS."""
    if not _kind(token).has_certificate:
        return "No: a public ledger is no qualified service. Its evidence counts all the same."
    return _QUALIFIED.get(token["qualified"], _QUALIFIED["UNKNOWN"])


def _kind(token: Mapping[str, Any]) -> KindOfAnchor:
    if any(finding["code"] == "ots-test-network" for finding in token["findings"]):
        return _TEST_NETWORK
    return _KINDS.get(token["backend"], _OTHER)
