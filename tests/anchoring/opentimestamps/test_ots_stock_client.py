"""What the stock client does with a proof from a bundle: it reads it, and finishes it without the ledger."""

import asyncio
import io
from typing import Any

import pytest

from tests.anchoring.opentimestamps.ots_under_test import Anchoring, last_round_of, new_head, proof_in, round_of
from verifier.opentimestamps import check_proof

calendar = pytest.importorskip("opentimestamps.calendar", reason="the reference library is not installed")
notary = pytest.importorskip("opentimestamps.core.notary")
serialize = pytest.importorskip("opentimestamps.core.serialize")
timestamp = pytest.importorskip("opentimestamps.core.timestamp")


def opened(proof: bytes) -> Any:
    return timestamp.DetachedTimestampFile.deserialize(serialize.StreamDeserializationContext(io.BytesIO(proof)))


def written(file: Any) -> bytes:
    stream = io.BytesIO()
    file.serialize(serialize.StreamSerializationContext(stream))
    return stream.getvalue()


def upgrade(tree: Any) -> None:
    """`ots upgrade`: ask every calendar that promised, and merge what it says where the promise stands."""
    for attestation in list(tree.attestations):
        if isinstance(attestation, notary.PendingAttestation):
            tree.merge(calendar.RemoteCalendar(f"{attestation.uri}/").get_timestamp(tree.msg))
    for below in list(tree.ops.values()):
        upgrade(below)


async def test_it_finishes_a_pending_proof_without_the_ledger(anchoring: Anchoring) -> None:
    head = new_head()
    async with anchoring.backend() as backend:
        state = await round_of(backend, head)
    file = opened(proof_in(state))
    assert file.file_digest == head
    await anchoring.mine()
    await asyncio.to_thread(upgrade, file.timestamp)
    assert anchoring.check(written(file), head).status == "valid"


async def test_it_reads_a_finished_proof_byte_for_byte(anchoring: Anchoring) -> None:
    head = new_head()
    async with anchoring.backend() as backend:
        state = await round_of(backend, head)
        await anchoring.mine()
        obtained = await last_round_of(backend, head, state)
    file = opened(obtained.response)
    assert written(file) == obtained.response
    claims = [
        (message, attestation.height)
        for message, attestation in file.timestamp.all_attestations()
        if isinstance(attestation, notary.BitcoinBlockHeaderAttestation)
    ]
    assert {height for _, height in claims} == {anchoring.sandbox.height()}
    unchecked = check_proof(obtained.response, digest=head)
    assert (unchecked.status, unchecked.height) == ("anchored-unchecked", anchoring.sandbox.height())
