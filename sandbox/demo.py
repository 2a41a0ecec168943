"""The demonstration: one session from its first event to the proof, and to the proof that it was not altered.

`run_demo` is the script; it reads from top to bottom, one block for each step it prints. Every claim it prints is
checked first: a demonstration that cannot fail shows nothing.
"""

import json
import subprocess
import time
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from indelible.ledger.v1 import ledger_pb2

from ledger.client import BlockingLedgerClient, Chain, ClientError, NewEvent
from ledger.messaging.streams import APPEND_SUBJECT
from sandbox.demo_anchors import DemoError, await_anchors, decide_trust, describe_anchor
from sandbox.demo_clip import ask_for_clip, await_clip, explain_clip, export_clip, show_forged_clip
from sandbox.demo_publish import publish
from sandbox.demo_recording import PICTURE, Recorder, tell_end, tell_recording
from sandbox.narrator import Narrator
from sandbox.outside import ExtraAuthority, OutsideOptions
from sandbox.processes import as_typed, find_program
from sandbox.stack import ORGANISATION_ID, ORGANISATION_NAME, Stack, running_stack
from sandbox.story import (
    CLOSING,
    PRESERVED_MEANING,
    SCENES,
    SUBJECT,
    TAMPERED_FROM,
    TAMPERED_TO,
    Scene,
)

_WAIT_SECONDS = 60.0
_POLL_SECONDS = 0.05
_VERIFIER_SECONDS = 120.0
_EXIT_CODES = {"VERIFIED": 0, "FAILED": 1}


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What is left at the end: two files that prove the session, and what they are about."""

    bundle: Path
    trust: Path
    verify_url: str
    chain_id: str
    head: str
    event_count: int
    clip_id: str | None
    clip_bundle: Path | None
    recording_id: str | None
    recording_bundle: Path | None
    picture: Path | None
    """A frame of the recording. This and the four above are None where this machine cannot work on video."""


def run_demo(
    directory: Path,
    narrator: Narrator,
    extra_authority: ExtraAuthority | None,
    at_the_end: Callable[[Stack, Outcome], None],
) -> Outcome:
    """Tell the whole story with real parts under `directory`; `at_the_end` is called while they still run.

    Raises DemoError, or what `running_stack` and the client raise.
    """
    narrator.step(
        "Start the outside world and Indelible",
        "Real servers, each a process of its own, on this machine. The authorities and the public ledgers are "
        "stand-ins that keep to the real protocols.",
    )
    outside = OutsideOptions(extra_authority=extra_authority)
    with running_stack(directory / "stack", outside=outside, announce=narrator.part_is_ready) as stack:
        stack.add_organisation(ORGANISATION_ID, ORGANISATION_NAME)
        token = stack.issuer.mint(ORGANISATION_ID, subject="demo")
        with BlockingLedgerClient(stack.ledger_address, token=token) as ledger:
            outcome = _tell(directory, narrator, stack, ledger, token)
            at_the_end(stack, outcome)
    return outcome


def _tell(directory: Path, narrator: Narrator, stack: Stack, ledger: BlockingLedgerClient, token: str) -> Outcome:
    chain_id = f"inspection-{time.time_ns():x}"

    narrator.step(
        "Open a chain for the session", "Its first event binds it to its name, its organisation and its format."
    )
    _, receipt = ledger.open_chain(chain_id, SUBJECT)
    narrator.event(1, "grpc", "chain.opened", receipt.event_hashes[0].hex(), f"Chain {chain_id} is open.")

    narrator.step(
        "Record what happens, over gRPC and over NATS",
        "Each event carries the hash of the one before it, so none can be changed, removed or slipped in later.",
    )
    for sequence, scene in enumerate(SCENES, start=2):
        _send(stack, ledger, token, chain_id, scene)
        head = _await_event(ledger, chain_id, sequence)
        narrator.event(sequence, scene.via, scene.kind, head, scene.meaning)

    clip_id = _preserve(narrator, stack, ledger, token, chain_id) if stack.makes_clips else None
    recorder = Recorder(stack=stack, ledger=ledger, token=token, chain_id=chain_id) if stack.makes_clips else None
    recording_id = tell_recording(narrator, recorder) if recorder is not None else None

    narrator.step(
        "Close the session", "The closing event commits to every event before it. From now on the chain is sealed."
    )
    if recorder is not None and recording_id is not None:
        tell_end(directory, narrator, recorder, recording_id)
        chain = _await_closed(ledger, chain_id)
    else:
        chain, _ = ledger.close_chain(chain_id, CLOSING)
    narrator.event(chain.event_count, "grpc", "chain.closed", chain.head.hex(), "The session is closed.")
    narrator.line(f"Trying to add one more event: {_try_to_append(ledger, chain_id)}")

    narrator.step(
        "Have the head confirmed by outsiders",
        "Time-stamp authorities sign that this very hash existed at that time; a public ledger, which nobody owns, "
        "puts it into a block. They neither see the events nor trust the ledger.",
    )
    for anchor in await_anchors(ledger, chain_id):
        narrator.line(describe_anchor(anchor))

    narrator.step(
        "Export the bundle", "One file with everything needed to check the session, for ever, without Indelible."
    )
    outcome = _export(directory, ledger, chain_id, clip_id, recording_id)
    with zipfile.ZipFile(outcome.bundle) as archive:
        for entry in archive.infolist():
            narrator.line(f"{entry.file_size:>8} bytes  {entry.filename}")

    narrator.step(
        "Say whom you trust",
        "The one step that is yours, whoever you are: what stands in the bundle cannot vouch for itself. The file "
        "trust.toml holds your answer.",
    )
    for line in decide_trust(stack, outcome.bundle, outcome.trust):
        narrator.line(line)

    narrator.step(
        "Verify it offline, with a separate program",
        "The verifier shares no code with the ledger and asks nobody. It trusts only what is in trust.toml.",
    )
    _verify(narrator, outcome.bundle, outcome.trust, expected="VERIFIED")

    narrator.step(
        "Show it to somebody without any tools", "A link for a browser: no login, no key. It is pinned to this head."
    )
    _require_page_says_verified(outcome)
    narrator.line(outcome.verify_url)
    narrator.line(
        "The page was fetched just now and says VERIFIED. Look for: the verdict in words, what each outsider's word"
    )
    narrator.line(
        "proves and does not prove, the list of events, and the bundle to download. The page does not know the"
    )
    narrator.line("blocks of the public ledgers, and says so.")

    narrator.step(
        "Change one byte in a copy",
        f"The forger turns “{TAMPERED_FROM}” into “{TAMPERED_TO}” in the annotation. Everything else stays as it was.",
    )
    tampered = directory / "tampered.zip"
    _change_one_byte(outcome.bundle, tampered)
    _verify(narrator, tampered, outcome.trust, expected="FAILED")
    at_fault = _event_at_fault(tampered, outcome.trust)
    narrator.line(f"The event at fault is #{at_fault}, {SCENES[at_fault - 2].kind}: exactly the one that was changed.")
    if outcome.clip_id and outcome.clip_bundle:
        _hand_over_clip(narrator, stack, token, outcome, outcome.clip_id, outcome.clip_bundle)
    if recorder is not None and outcome.recording_id and outcome.recording_bundle:
        _hand_over_recording(narrator, recorder, outcome, outcome.recording_id, outcome.recording_bundle)
    narrator.ending(
        "Recorded, sealed, confirmed by outsiders, verified by a program that trusts nobody here; forgery was caught."
    )
    return outcome


def _preserve(narrator: Narrator, stack: Stack, ledger: BlockingLedgerClient, token: str, chain_id: str) -> str:
    narrator.step(
        "An alert fires: keep what the camera saw",
        "The camera of the pump house sees water on the floor. Its alert asks for a clip by one message; the evidence "
        "service cuts it, reads every file back from the store, and tells the chain.",
    )
    ask_for_clip(stack, token, chain_id)
    event = await_clip(stack, ledger, chain_id)
    narrator.event(event.sequence, "nats", event.kind, event.hash.hex(), PRESERVED_MEANING)
    for artefact in event.content["artefacts"]:
        narrator.line(f"{artefact['size']:>8} bytes  {artefact['name']:<15} {artefact['sha256'][:16]}…")
    return str(event.content["clip_id"])


def _await_closed(ledger: BlockingLedgerClient, chain_id: str) -> Chain:
    deadline = time.monotonic() + _WAIT_SECONDS
    while (chain := ledger.get_chain(chain_id)).state != "closed":
        if time.monotonic() > deadline:
            raise DemoError(f"the session did not close within {_WAIT_SECONDS:g} seconds")
        time.sleep(_POLL_SECONDS)
    return chain


def _hand_over_recording(
    narrator: Narrator, recorder: Recorder, outcome: Outcome, recording_id: str, bundle: Path
) -> None:
    narrator.step(
        "Hand over the recording as well",
        "The same bundle with the recording in it: the composite, each participant with sound and picture apart, the "
        "strokes, and recording.json, which says how each file was made.",
    )
    recorder.export(recording_id, bundle)
    narrator.command(f"{as_typed('indelible-verify')} bundle {bundle} --trust {outcome.trust}")
    narrator.line(explain_clip(_report(bundle, outcome.trust, expected="VERIFIED")))


def _hand_over_clip(  # noqa: PLR0913, PLR0917 - who tells what to whom about which clip
    narrator: Narrator, stack: Stack, token: str, outcome: Outcome, clip_id: str, bundle: Path
) -> None:
    narrator.step(
        "Hand over the clip as well",
        "The same bundle with the clip in it, and with its chain of custody: who asked, which footage, each file.",
    )
    export_clip(stack, token, clip_id, outcome.chain_id, bundle)
    narrator.command(f"{as_typed('indelible-verify')} bundle {bundle} --trust {outcome.trust}")
    narrator.line(explain_clip(_report(bundle, outcome.trust, expected="VERIFIED")))

    narrator.step(
        "Change one byte of the video, and every list of digests with it",
        "Whoever forges a clip can write all lists in the bundle anew, but not the chain, which outsiders confirmed.",
    )
    forged = bundle.with_name("forged-clip.zip")
    narrator.line(show_forged_clip(bundle, forged, lambda: _report(forged, outcome.trust, expected="FAILED")))


def _send(stack: Stack, ledger: BlockingLedgerClient, token: str, chain_id: str, scene: Scene) -> None:
    if scene.via == "nats":
        new_event = ledger_pb2.NewEvent(
            kind=scene.kind, payload=json.dumps(scene.payload).encode(), sealed_members=scene.sealed_members
        )
        request = ledger_pb2.AppendEventsRequest(
            chain_id=chain_id, events=[new_event], idempotency_key=f"{scene.kind}-{time.time_ns()}"
        )
        publish(stack.nats.url, token, APPEND_SUBJECT, request)
        return
    event = NewEvent(kind=scene.kind, payload=scene.payload, sealed_members=scene.sealed_members)
    ledger.append_events(chain_id, [event])


def _await_event(ledger: BlockingLedgerClient, chain_id: str, sequence: int) -> str:
    """The head once the chain has `sequence` events; those sent over NATS take a moment."""
    deadline = time.monotonic() + _WAIT_SECONDS
    while (chain := ledger.get_chain(chain_id)).event_count < sequence:
        if time.monotonic() > deadline:
            raise DemoError(f"event {sequence} did not arrive within {_WAIT_SECONDS:g} seconds")
        time.sleep(_POLL_SECONDS)
    return chain.head.hex()


def _try_to_append(ledger: BlockingLedgerClient, chain_id: str) -> str:
    try:
        ledger.append_event(chain_id, "annotation.added", {"text": "one more thing"})
    except ClientError as refusal:
        if refusal.reason == "CHAIN_CLOSED":
            return f"refused. {refusal.message}"
        raise
    raise DemoError("an event was appended to a closed chain")


def _export(
    directory: Path, ledger: BlockingLedgerClient, chain_id: str, clip_id: str | None, recording_id: str | None
) -> Outcome:
    bundle, trust = directory / "bundle.zip", directory / "trust.toml"
    ledger.export_bundle(chain_id, bundle)
    chain = ledger.get_chain(chain_id)
    return Outcome(
        bundle=bundle,
        trust=trust,
        verify_url=ledger.create_verify_link(chain_id).url,
        chain_id=chain_id,
        head=chain.head.hex(),
        event_count=chain.event_count,
        clip_id=clip_id,
        clip_bundle=directory / "clip.zip" if clip_id else None,
        recording_id=recording_id,
        recording_bundle=directory / "recording.zip" if recording_id else None,
        picture=directory / PICTURE if recording_id else None,
    )


def _verify(narrator: Narrator, bundle: Path, trust: Path, *, expected: str) -> None:
    """Run the verifier, show what it says, and see to it that its exit code stands for the expected verdict."""
    narrator.command(f"{as_typed('indelible-verify')} bundle {bundle} --trust {trust}")
    finished = _run_verifier(bundle, trust)
    narrator.quote(f"the verifier, exit code {finished.returncode}", finished.stdout or finished.stderr)
    if finished.returncode != _EXIT_CODES[expected]:
        raise DemoError(f"the verifier ended with exit code {finished.returncode} for {bundle}, not as {expected}")


def _report(bundle: Path, trust: Path, *, expected: str) -> dict[str, Any]:
    """What the verifier says, for programs. Raises DemoError unless that is the expected verdict."""
    finished = _run_verifier(bundle, trust, "--json")
    if finished.returncode != _EXIT_CODES[expected]:
        raise DemoError(f"the verifier ended with exit code {finished.returncode} for {bundle}, not as {expected}")
    report: dict[str, Any] = json.loads(finished.stdout)
    return report


def _run_verifier(bundle: Path, trust: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [str(find_program("indelible-verify")), "bundle", str(bundle), "--trust", str(trust), *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=_VERIFIER_SECONDS, check=False)  # noqa: S603 - our own program


def _require_page_says_verified(outcome: Outcome) -> None:
    page = httpx.get(outcome.verify_url, timeout=_WAIT_SECONDS)
    if page.status_code != httpx.codes.OK or outcome.head not in page.text:
        raise DemoError(f"the verify page answered {page.status_code} and does not show the chain's head")
    verdict = httpx.get(outcome.verify_url, headers={"Accept": "application/json"}, timeout=_WAIT_SECONDS).json()[
        "verdict"
    ]
    if verdict != "VERIFIED":
        raise DemoError(f"the verify page says {verdict}, not VERIFIED")


def _change_one_byte(bundle: Path, tampered: Path) -> None:
    with zipfile.ZipFile(bundle) as original, zipfile.ZipFile(tampered, "w") as copy:
        for entry in original.infolist():
            content = original.read(entry)
            if entry.filename.endswith("data/events.jsonl"):
                changed = content.replace(TAMPERED_FROM.encode(), TAMPERED_TO.encode())
                if sum(before != after for before, after in zip(content, changed, strict=True)) != 1:
                    raise DemoError("the forgery did not change exactly one byte")
                content = changed
            copy.writestr(entry, content)


def _event_at_fault(tampered: Path, trust: Path) -> int:
    found = _report(tampered, trust, expected="FAILED")["chain_integrity"]["first_divergent_sequence"]
    changed = next(n for n, scene in enumerate(SCENES, start=2) if TAMPERED_FROM in json.dumps(scene.payload))
    if found != changed:
        raise DemoError(f"event {changed} was changed, but the verifier blames event {found}")
    return changed
