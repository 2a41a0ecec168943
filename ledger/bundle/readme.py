"""`data/README.txt` of a bundle: how to check it by hand, with the values of this bundle filled in."""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ledger.chain.processing import PendingItem
from ledger.store.snapshots import PendingAnchor
from ledger.timestamps import rfc3339

# The newest anchors, each with its command; the pattern is the same for all.
_SHOWN_ANCHORS = 10
_SHOWN_PENDING = 10


# Of what is unfinished; all of it is named by an event.
_SHOWN_ITEMS = 10


@dataclass(frozen=True, kw_only=True, slots=True)
class SessionFacts:
    """How a session ended: with the event `ended_by`. `pending` is what its chain waits for, or was closed without."""

    ended_by: int
    closes_by: datetime
    closed: bool
    pending: Sequence[PendingItem]


@dataclass(frozen=True, kw_only=True, slots=True)
class ReadmeFacts:
    """What the text states. Anchors with a sequence up to `omitted_through` (0: none) are not in the bundle.

    `unfinished` names the files of proofs that their calendars have yet to complete.
    """

    chain_id: str
    organisation: Mapping[str, Any]
    event_count: int
    head: bytes
    exported_at: datetime
    anchors: Sequence[Mapping[str, Any]]
    unfinished: Collection[str]
    pending: Sequence[PendingAnchor]
    omitted_through: int
    has_disclosures: bool
    session: SessionFacts | None = None


def readme_text(facts: ReadmeFacts) -> str:
    """The whole text; it depends on the facts alone."""
    return _INTRODUCTION.format(
        chain_id=facts.chain_id,
        organisation=_quoted(facts.organisation["name"]),
        organisation_id=facts.organisation["id"],
        event_count=facts.event_count,
        head=facts.head.hex(),
        exported_at=rfc3339(facts.exported_at),
    ) + "\n".join([_FILES, _CHAIN, _anchors(facts), *([_DISCLOSURES] if facts.has_disclosures else []), _LIMITS])


def _quoted(name: str) -> str:
    # A name with line breaks or marks that turn the direction of writing must not pass for a part of this text.
    return f'"{name}"' if name.isprintable() else json.dumps(name)


def _anchors(facts: ReadmeFacts) -> str:
    lines = [_ANCHORS]
    if facts.session is not None:
        lines.append(_session(facts.session, facts.event_count))
    lines.extend(_anchor_lines(anchor, facts.unfinished) for anchor in facts.anchors[-_SHOWN_ANCHORS:])
    if len(facts.anchors) > _SHOWN_ANCHORS:
        lines.append(f"   ... and {len(facts.anchors) - _SHOWN_ANCHORS} older ones, listed in data/bundle.json.\n")
    if not facts.anchors:
        lines.append("   This bundle holds no anchor yet: nothing outside the ledger confirms its time.\n")
    if facts.omitted_through:
        lines.append(
            f"   Anchors of event {facts.omitted_through} and before were left out to keep the bundle readable;\n"
            "   the newer ones commit to the same events.\n"
        )
    if facts.pending:
        lines.append("   Asked for and not yet obtained when this bundle was written:\n")
        lines.extend(
            f"   event {job.sequence}, {job.backend}, {job.authority}\n" for job in facts.pending[:_SHOWN_PENDING]
        )
        if len(facts.pending) > _SHOWN_PENDING:
            lines.append(f"   ... and {len(facts.pending) - _SHOWN_PENDING} more, listed in data/bundle.json.\n")
    return "".join(lines)


def _session(session: SessionFacts, event_count: int) -> str:
    names = ", ".join(f"{item.type} {item.item_id}" for item in session.pending[:_SHOWN_ITEMS])
    if len(session.pending) > _SHOWN_ITEMS:
        names += f" and {len(session.pending) - _SHOWN_ITEMS} more"
    if session.closed and event_count == session.ended_by + 1:
        return _CLOSED_DIRECTLY.format(ended_by=session.ended_by, closing=event_count)
    text = _ENDED.format(ended_by=session.ended_by, checkpoint=session.ended_by + 1)
    if not session.closed:
        return text + _WAITING.format(names=names or "nothing any more", closes_by=rfc3339(session.closes_by))
    unfinished = _UNFINISHED_ITEMS.format(names=names) if names else ""
    return f"{text}{_CLOSED_LATER.format(closing=event_count)}{unfinished}\n"


def _anchor_lines(anchor: Mapping[str, Any], unfinished: Collection[str]) -> str:
    title = f"   event {anchor['sequence']}, {anchor['backend']}, {anchor['authority']}:\n"
    if anchor["backend"] == "tezos":
        # Hashing a path by hand is no fun; comparing a block's hash with the network is what only a person can do.
        return (
            f"{title}   indelible-verify tezos {anchor['files']['receipt']} --value {anchor['digest']}\n"
            "       and look the block it names up in a Tezos block explorer that you trust.\n"
        )
    if anchor["backend"] == "opentimestamps":
        proof = anchor["files"]["proof"]
        end = _UNFINISHED if proof in unfinished else ""
        return (
            f"{title}   indelible-verify ots {proof} \\\n"
            f"       --digest {anchor['digest']} --headers HEADERS.txt\n"
            "       where HEADERS.txt holds the header of the Bitcoin block it names, from a source that you trust.\n"
            "       Or, with a Bitcoin node of your own and the OpenTimestamps client:\n"
            f"   ots verify -d {anchor['digest']} \\\n"
            f"       {proof}\n"
            f"{end}"
        )
    return (
        f"{title}   openssl ts -verify -digest {anchor['digest']} \\\n"
        f"       -in {anchor['files']['response']} -CAfile ROOT.pem\n"
    )


_CLOSED_DIRECTLY = """\
   This session ended with event {ended_by} and nothing was in the making: event {closing} closed the chain, and its
   anchors cover everything.

"""
_ENDED = """\
   This session ended with event {ended_by}, while recordings or clips of it were still in the making. The anchors of
   event {checkpoint} cover the session: events 1 to {ended_by}, as they were when it ended. From then on only events
   that tell of those recordings and clips could be added.
"""
_CLOSED_LATER = """\
   The anchors of event {closing}, which closed the chain, cover the whole of it, with what came of the recordings and
   clips. An anchor between the two covers the events before its own.
"""
_UNFINISHED_ITEMS = """\
   Not finished when the chain was closed: {names}.
"""
_WAITING = """\
   When this bundle was written the chain was not closed. Until {closes_by} it waits for:
   {names}. A newer bundle has more. Anchors of later events cover what came of the recordings and clips up to there.

"""
_UNFINISHED = """\
       This proof was not finished when the bundle was written: calendars had promised a path into a Bitcoin block,
       and a promise proves nothing by itself. A newer bundle has the finished proof. Or fetch it into a copy of the
       file: ots upgrade COPY.ots
"""

_INTRODUCTION = """\
EVIDENCE BUNDLE (indelible-bundle/1)

Chain          {chain_id}
Organisation   {organisation} ({organisation_id})
Events         {event_count}
Head           {head}
Newest entry   {exported_at}

This folder holds a record of events and what is needed to check that it was not changed. The program
indelible-verify checks everything at once, without a network:

   indelible-verify bundle THIS_FOLDER_OR_ZIP --trust-root ROOT.pem

The same can be checked by hand, as follows, with tools that come with most computers. Run the commands in the
folder that holds bagit.txt.

"""

_FILES = """\
1. Are the files as they were written?

   sha256sum -c tagmanifest-sha256.txt manifest-sha256.txt

   Every line must end with OK. This finds damage; it does not find an author who rewrote the lists too. Steps 2
   and 3 do.
"""

_CHAIN = r"""
2. Is the chain whole? Each event's hash covers the hash of the event before it.

   This short program for Python 3 computes every hash again, and prints the head when all is well:

import hashlib, struct
from datetime import datetime, timedelta
before, count = bytes(32), 0
for line in open("data/events.jsonl", "rb"):
    head, _, rest = line.rstrip(b"\n").partition(b',"payload":')
    payload, _, tail = rest.rpartition(b',"prev_hash":"')
    stated, kind, time = head.split(b'"')[3], head.split(b'"')[7], head.split(b'"')[11].decode()
    count += 1
    assert tail == before.hex().encode() + b'","sequence":%d}' % count, f"event {count} does not follow"
    passed = datetime.strptime(time, "%Y-%m-%dT%H:%M:%S.%fZ") - datetime(1970, 1, 1)
    at = passed // timedelta(microseconds=1)
    before = hashlib.sha256(struct.pack(">Q", count) + before + struct.pack(">I", len(kind)) + kind
                            + struct.pack(">I", len(payload)) + payload + struct.pack(">q", at)).digest()
    assert before.hex().encode() == stated, f"event {count} was changed"
print(count, "events, head", before.hex())

   The head and the number of events must be those above. Event 1 names the chain and the organisation.
"""

_ANCHORS = r"""
3. Did independent authorities confirm it, and when?

   A time-stamp token is an authority's signed statement that a hash existed at a time. The hash is that of an event
   of the kind chain.checkpointed or chain.closed, which covers every event before it. Compare the number after
   -digest with the "hash" of that event in data/events.jsonl, then ask openssl. ROOT.pem is the authority's root
   certificate: get it from the authority itself, never from this folder. "Verification: OK" must appear. If the
   authority's certificate has expired since, add -attime SECONDS with the time in the token, as seconds since 1970.

   To read the time in a token:  openssl ts -reply -text -in data/anchors/FILE.tsr

"""

_DISCLOSURES = """
4. What do sealed members say? An event holds only their digests, under "_sd"; data/disclosures.jsonl holds what may be
   shown. The digest of a disclosure D must stand in the event with the sequence that is given beside it:

   printf %s D | openssl dgst -sha256 -binary | base64 | tr '+/' '-_' | tr -d '='

   To read it (a complaint about the end of the input is harmless):  printf %s D | tr '_-' '/+' | base64 -d
"""

_LIMITS = """
What this proves: the events were in this order and read as they read here no later than the time in the tokens,
and none was changed, removed from the middle or inserted since. What it does not prove: that what an event says is
true, or that nothing was added after the last event shown. The certificates and revocation lists in data/evidence
help to check the tokens; nothing becomes trusted by lying there.
"""
