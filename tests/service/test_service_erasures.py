"""From the request to erase to what an auditor sees of it."""

import json
from pathlib import Path

import pytest

from ledger.client import BlockingLedgerClient, ClientError, LedgerClient, NewEvent
from tests.service.serving import FOREIGN_ORGANISATION, Service
from verifier.policy import TrustPolicy
from verifier.report import Report
from verifier.verify import verify_bundle

SEEN = NewEvent(
    kind="person.seen",
    payload={"name": "Ann", "phone": "12", "door": "north"},
    sealed_members=("name", "phone"),
)


async def judged(client: LedgerClient, chain_id: str, folder: Path) -> tuple[Report, bytes]:
    path = folder / "bundle.zip"
    await client.export_bundle(chain_id, path, include_disclosures=True)
    return verify_bundle(path, policy=TrustPolicy(authorities={})), path.read_bytes()


async def test_an_erased_member_is_sealed_for_an_auditor_and_nothing_looks_tampered_with(
    client: LedgerClient, tmp_path: Path
) -> None:
    await client.open_chain("erased")
    await client.append_events("erased", [SEEN])
    await client.close_chain("erased")
    before, disclosed = await judged(client, "erased", tmp_path)
    assert "sealed-not-disclosed" not in {finding.code for finding in before.findings}

    erased, receipt = await client.erase_disclosures("erased", 2, members=["name"], reason="asked for: case 7")
    assert erased == 1
    assert receipt is not None
    assert receipt.chain_id == "operations"

    after, left = await judged(client, "erased", tmp_path)
    assert after.chain_ok is True
    assert (after.verdict, after.head) == (before.verdict, before.head)
    assert "sealed-not-disclosed" in {finding.code for finding in after.findings}
    assert len(left) < len(disclosed)
    noted = [event async for event in client.list_events("operations", kinds=["ledger.disclosures_erased"])]
    assert [event.content["by"] for event in noted] == ["tester"]
    assert noted[-1].hash == receipt.event_hashes[0]
    assert "Ann" not in json.dumps(noted[-1].content)
    assert (await client.check_chain("erased")).head == bytes.fromhex(before.head)


async def test_erasing_what_is_erased_is_no_error_and_gets_no_receipt(client: LedgerClient) -> None:
    await client.open_chain("erased-twice")
    await client.append_events("erased-twice", [SEEN])
    assert (await client.erase_disclosures("erased-twice", 2, reason="asked for"))[0] == 2
    assert await client.erase_disclosures("erased-twice", 2, reason="asked for") == (0, None)


def test_a_foreign_organisation_erases_nothing(service: Service) -> None:
    with service.blocking_client() as ours, service.blocking_client(FOREIGN_ORGANISATION) as theirs:
        ours.open_chain("ours-alone")
        ours.append_events("ours-alone", [SEEN])
        assert refusal(theirs, "ours-alone", 2, "mine now") == "CHAIN_NOT_FOUND"
        assert ours.erase_disclosures("ours-alone", 2, reason="asked for")[0] == 2


@pytest.mark.parametrize(
    ("sequence", "reason"), [(0, "why"), (2**63, "why"), (2**64 - 1, "why"), (2, ""), (2, "a\x00")]
)
def test_a_wrong_request_to_erase_is_refused(service: Service, sequence: int, reason: str) -> None:
    with service.blocking_client() as client:
        client.open_chain("kept")
        assert refusal(client, "kept", sequence, reason) == "INVALID_ARGUMENT"


def refusal(client: BlockingLedgerClient, chain_id: str, sequence: int, reason: str) -> str:
    with pytest.raises(ClientError) as caught:
        client.erase_disclosures(chain_id, sequence, reason=reason)
    return caught.value.reason
