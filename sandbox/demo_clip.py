"""The clip in the demonstration: asked for by an alert, awaited on the chain, exported, and forged."""

import asyncio
import time
import zipfile
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from indelible.evidence.v1 import evidence_pb2

from ledger.client import BlockingLedgerClient, Event
from media.calling import EvidenceCaller
from media.clips.events import FAILED, PRESERVED
from media.service.inbox import EXTRACT_QUEUE
from media.settings import CallerSettings
from sandbox.demo_anchors import DemoError
from sandbox.demo_publish import publish
from sandbox.evidence import CAMERA
from sandbox.stack import Stack
from sandbox.story import ALERT_AFTER_SECONDS, CLIP_AFTER_SECONDS, CLIP_BEFORE_SECONDS, FILMED_SECONDS, INCIDENT

# Encoding takes a second or two; a busy machine may take long to start what encodes.
_WAIT_SECONDS = 120.0
_POLL_SECONDS = 0.1
_CLIP = "/clip.mp4"
_TAGS = ("bag-info.txt", "bagit.txt", "manifest-sha256.txt")


def ask_for_clip(stack: Stack, token: str, chain_id: str) -> None:
    """Film, and have an alert ask for the clip over NATS, to be noted on the session's chain too."""
    event_at = Timestamp()
    event_at.FromMicroseconds(stack.evidence.film(FILMED_SECONDS) + ALERT_AFTER_SECONDS * 1_000_000)
    request = evidence_pb2.ClipExtractionRequest(
        source=CAMERA,
        incident=f"{INCIDENT}-{time.time_ns():x}",
        event_at=event_at,
        before=Duration(seconds=CLIP_BEFORE_SECONDS),
        after=Duration(seconds=CLIP_AFTER_SECONDS),
        session_chain_id=chain_id,
    )
    publish(stack.nats.url, token, EXTRACT_QUEUE.subject, request)


def await_clip(stack: Stack, ledger: BlockingLedgerClient, chain_id: str) -> Event:
    """The event that says the clip is preserved. Raises DemoError when there is none, PartEndedError."""
    deadline = time.monotonic() + _WAIT_SECONDS
    while time.monotonic() < deadline:
        for event in ledger.list_events(chain_id, kinds=[PRESERVED, FAILED]):
            if event.kind == FAILED:
                failed = event.content
                raise DemoError(f"the clip could not be preserved: {failed['message']} [{failed['reason']}]")
            return event
        stack.check()
        time.sleep(_POLL_SECONDS)
    raise DemoError(f"no clip was preserved within {_WAIT_SECONDS:g} seconds")


def export_clip(stack: Stack, token: str, clip_id: str, chain_id: str, target: Path) -> None:
    """Write the bundle of the chain with the clip in it. Raises ClientError."""

    async def export() -> None:
        settings = CallerSettings(address=stack.evidence.address, token=token, certificate_authority=None)
        async with EvidenceCaller(settings) as service:
            await service.export(evidence_pb2.ExportClipRequest(clip_id=clip_id, chain_id=chain_id), target)

    asyncio.run(export())


def explain_clip(report: dict[str, Any]) -> str:
    """What the verifier says of the clip's files. Raises DemoError when it says nothing."""
    return f"VERIFIED. {_message(report, 'artefacts-recorded')}"


def show_forged_clip(bundle: Path, forged: Path, verify: Callable[[], dict[str, Any]]) -> str:
    """Forge the clip, and return what the verifier says of it. Raises DemoError when it does not name the file."""
    _forge(bundle, forged)
    return f"FAILED. {_message(verify(), 'artefact-digest-differs')}"


def _message(report: dict[str, Any], code: str) -> str:
    for finding in report["findings"]:
        if finding["code"] == code:
            return str(finding["message"])
    raise DemoError(f"the verifier does not say {code} about the clip")


def _forge(bundle: Path, forged: Path) -> None:
    """A copy with one byte of the clip changed, and with every digest in the bag's lists computed again."""
    with zipfile.ZipFile(bundle) as original:
        contents = {entry.filename: original.read(entry) for entry in original.infolist()}
        [clip] = [name for name in contents if name.endswith(_CLIP)]
        middle = len(contents[clip]) // 2
        changed = bytearray(contents[clip])
        changed[middle] ^= 1
        contents[clip] = bytes(changed)
        top = clip.partition("/")[0]
        contents[f"{top}/manifest-sha256.txt"] = _list_of(
            {name.removeprefix(f"{top}/"): content for name, content in contents.items() if f"{top}/data/" in name}
        )
        contents[f"{top}/tagmanifest-sha256.txt"] = _list_of({name: contents[f"{top}/{name}"] for name in _TAGS})
        with zipfile.ZipFile(forged, "w") as copy:
            for entry in original.infolist():
                copy.writestr(entry, contents[entry.filename])


def _list_of(files: dict[str, bytes]) -> bytes:
    return "".join(f"{sha256(content).hexdigest()}  {path}\n" for path, content in sorted(files.items())).encode()
