"""A report in words for a lawyer: what each check proves, what it does not, and how to repeat it by hand."""

import re
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from verifier.web import anchor_words
from verifier.web.examine import Examination
from verifier.web.links import VerifyLink
from verifier.web.listing import visible
from verifier.web.self_check import Commands, self_check_commands
from verifier.web.session_words import Stage, covers, stages

# An operations chain gathers an anchor a day or more for years; a page shows the ones that matter.
MAX_ANCHORS_SHOWN = 25
# One broken file can raise a finding a line; past this a reader needs the JSON report, not a longer page.
MAX_FINDINGS_SHOWN = 100

_TIME = re.compile(r"(\d{4}-\d{2}-\d{2})[T ](\d{2}:\d{2}:\d{2})(?:\.(\d{1,6}))?(?:Z|\+00:00)", re.ASCII)


@dataclass(frozen=True, kw_only=True, slots=True)
class Wording:
    """How a state is shown: never by `tone` (a colour) alone, always with `symbol` and `word`."""

    tone: str
    symbol: str
    word: str
    meaning: str


_CHECK_STATES = {
    True: Wording(tone="good", symbol="check", word="Holds", meaning=""),
    False: Wording(tone="bad", symbol="cross", word="Does not hold", meaning=""),
    None: Wording(tone="open", symbol="question", word="Not checked", meaning=""),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """One check of the chain, with what it proves when it holds."""

    state: Wording
    name: str
    proves: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Anchor:
    """One time stamp or other anchor, as a card."""

    token: dict[str, Any]
    state: Wording
    covers: str
    proves: str
    does_not_prove: str
    checks: tuple[str, ...]
    findings: tuple[dict[str, Any], ...]
    digest: str
    response: str
    accuracy: str
    signer: str
    block: str
    revocation: str
    qualified: str


@dataclass(frozen=True, kw_only=True, slots=True)
class ReportView:
    """Everything the report page shows, apart from the events."""

    examination: Examination
    report: dict[str, Any]
    verdict: Wording
    summary: str
    organisation: str
    chain_id: str
    chain_type: str
    exported_at: str
    link: VerifyLink | None
    checks: tuple[Check, ...]
    findings: tuple[dict[str, Any], ...]
    findings_left_out: int
    stages: tuple[Stage, ...]
    anchors: tuple[Anchor, ...]
    anchors_left_out: dict[str, int]
    commands: Commands


def present(examination: Examination, link: VerifyLink | None, *, archive: str) -> ReportView:
    """Prepare `examination` for the report page; `archive` is the file name that a reader's copy has."""
    report, manifest = examination.report, examination.manifest
    records = _anchor_records(manifest)
    anchors = [_anchor(token, records.get(_anchor_key(token), {})) for token in report["tokens"]]
    # What failed first, then the newest: those speak for the most events.
    anchors.sort(key=lambda anchor: (bool(anchor.token["ok"]), -(anchor.token["sequence"] or 0)))
    findings = [_finding(finding) for finding in report["findings"]]
    return ReportView(
        examination=examination,
        report=report,
        verdict=verdict_wording(report["verdict"]),
        summary=_summary(report),
        organisation=visible(str(report["issuing_org_name"])) or "not named",
        chain_id=visible(str(report["chain_id"])) or "not named",
        chain_type=_chain_type(report),
        exported_at=str(manifest.get("exported_at", "")),
        link=link,
        checks=_checks(report),
        findings=tuple(findings[:MAX_FINDINGS_SHOWN]),
        findings_left_out=max(0, len(findings) - MAX_FINDINGS_SHOWN),
        stages=stages(report),
        anchors=tuple(anchors[:MAX_ANCHORS_SHOWN]),
        anchors_left_out=dict(Counter(anchor.state.word for anchor in anchors[MAX_ANCHORS_SHOWN:])),
        commands=self_check_commands(
            report,
            archive=archive,
            stamps=[
                (anchor.digest, anchor.response)
                for anchor in anchors[:MAX_ANCHORS_SHOWN]
                if anchor.response and anchor.token["backend"] == "rfc3161"
            ],
        ),
    )


def verdict_wording(verdict: str) -> Wording:
    """How a verdict is shown."""
    return {
        "VERIFIED": Wording(
            tone="good",
            symbol="check",
            word="Verified",
            meaning="The record is intact, and an authority this page trusts proves when it existed.",
        ),
        "FAILED": Wording(
            tone="bad",
            symbol="cross",
            word="Failed",
            meaning="Something in this record is provably wrong. Do not rely on it.",
        ),
    }.get(
        verdict,
        Wording(
            tone="open",
            symbol="question",
            word="Indeterminate",
            meaning="Nothing is provably wrong, but proof that this page trusts is missing.",
        ),
    )


def long_time(value: str | datetime | None) -> str:
    """`2026-01-02T03:04:09.5Z` as "2 January 2026, 03:04:09.5 UTC"; what is no such time as it stands."""
    if isinstance(value, datetime):
        value = value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    match = _TIME.fullmatch(value or "")
    if match is None:
        return visible(value or "")
    try:
        day = datetime.strptime(match[1], "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError:
        return visible(value or "")
    fraction = f".{match[3]}" if match[3] and match[3].strip("0") else ""
    return f"{day.day} {day:%B} {day:%Y}, {match[2]}{fraction} UTC"


def short_time(value: str) -> str:
    """`2026-01-02T03:04:09.500000Z` as "2026-01-02 03:04:09.500000", for tables headed UTC."""
    match = _TIME.fullmatch(value)
    return f"{match[1]} {match[2]}.{match[3] or '000000'}" if match else visible(value)


def _chain_type(report: dict[str, Any]) -> str:
    # Where a broken chain would have ended nobody can say.
    ending = ""
    if report["chain_integrity"]["ok"]:
        ending = ", sealed" if report["closed"] else ", ended" if report["session_end"] else ", open"
    return {"session": "a session" + ending, "operations": "an operations log"}.get(
        report["chain_type"], "of no known type"
    )


def _checks(report: dict[str, Any]) -> tuple[Check, ...]:
    return tuple(
        Check(
            state=_CHECK_STATES[check["ok"]],
            name=_check_name(str(check["check"])),
            proves=visible(str(check["proves"])),
        )
        for check in report["chain_integrity"]["checks"]
    )


def _check_name(name: str) -> str:
    return visible(name).replace("-", " ").capitalize()


def _summary(report: dict[str, Any]) -> str:
    covered, count, tokens = report["covered_events"], report["event_count"], report["tokens"]
    stamps = [token for token in tokens if token["ok"] and token["sequence"] >= covered]
    times = sorted((str(token["time"]) for token in stamps), key=lambda time: time.rstrip("Z"))
    divergent = report["chain_integrity"]["first_divergent_sequence"]
    if report["verdict"] == "VERIFIED" and times:
        good = sum(bool(token["ok"]) for token in tokens)
        obtained = sum(token["status"] != "pending" for token in tokens)
        return (
            f"No event of this record was changed, removed or inserted. {good} of {obtained} time stamps are valid "
            f"and trusted. They cover events 1 to {covered} of {count}; the earliest that covers all of these was made "
            f"on {long_time(times[0])}."
        )
    if divergent is not None:
        return (
            f"The first event that is not as it was recorded is event {divergent}. "
            "Nothing from there on is vouched for."
        )
    return verdict_wording(report["verdict"]).meaning


def _anchor(token: dict[str, Any], record: dict[str, Any]) -> Anchor:
    state = _token_state(token)
    files = record.get("files")
    response = files.get("response") if isinstance(files, dict) else None
    authority = visible(str(token["authority"]))
    return Anchor(
        token=token,
        state=state,
        covers=covers(token) if token["ok"] else "",
        proves=anchor_words.proves(token, authority),
        does_not_prove="It does not prove that what the events say is true, who caused them, or how long before that "
        "time they happened. It says nothing about events after "
        f"number {token['sequence']}.",
        checks=anchor_words.checks(token),
        findings=tuple(_finding(finding) for finding in token["findings"]),
        digest=visible(str(record.get("digest", ""))),
        response=visible(response) if isinstance(response, str) else "",
        accuracy=_seconds(token["time_accuracy"]),
        signer=visible(str(token["signer"])),
        block=visible(str(token["block"] or "")),
        revocation=anchor_words.revocation(token),
        qualified=anchor_words.qualified(token),
    )


def _token_state(token: dict[str, Any]) -> Wording:
    states = {
        "valid": ("good", "Valid", "Every check passed, up to a root certificate or a block that this page trusts."),
        "invalid": ("bad", "Not valid", "At least one check failed: this anchor proves nothing."),
        "pending": (
            "open",
            "Pending",
            "A promise, or less: nobody has vouched for it yet, and until then this proves nothing.",
        ),
        "unconfirmed": ("open", "Not confirmed", "Consistent in itself, but not confirmed by what this page trusts."),
        "untrusted": ("open", "Not trusted", "Consistent in itself, but signed by nobody this page was told to trust."),
    }
    status = token["status"] if token["ok"] or token["status"] != "valid" else "invalid"
    tone, word, meaning = states.get(status, states["unconfirmed"])
    symbol = {"good": "check", "bad": "cross", "open": "question"}[tone]
    return Wording(tone=tone, symbol=symbol, word=word, meaning=meaning)


def _anchor_records(manifest: dict[str, Any]) -> dict[str, dict[str, Any]]:
    anchors = manifest.get("anchors")
    records = anchors if isinstance(anchors, list) else []
    return {_anchor_key(record): record for record in records if isinstance(record, dict)}


def _anchor_key(entry: dict[str, Any]) -> str:
    # Text, since a damaged manifest may hold anything in these members.
    return repr([entry.get(name) for name in ("sequence", "backend", "authority")])


def _finding(finding: dict[str, Any]) -> dict[str, Any]:
    tone, word, symbol = {
        "error": ("bad", "Error", "cross"),
        "warning": ("open", "Warning", "question"),
    }.get(finding["severity"], ("note", "Note", "info"))
    return {
        "tone": tone,
        "word": word,
        "symbol": symbol,
        "code": visible(str(finding["code"])),
        "where": visible(str(finding["where"])),
        "message": visible(str(finding["message"])),
    }


def _seconds(microseconds: int | None) -> str:
    return "" if microseconds is None else f"{microseconds / 1_000_000:f}".rstrip("0").rstrip(".") + " s"
