"""A verify link opens the record it was made for, until it ends, and nothing else."""

from __future__ import annotations

import base64
import hashlib
import secrets
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from itsdangerous import URLSafeSerializer

from verifier.web.links import LinkKeysError, LinkRefusedError, load_link_keys, open_link, read_link

if TYPE_CHECKING:
    from tests.verifier.web.small_ledger import Chain
    from tests.verifier.web.world import World

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def test_a_link_shows_the_record_it_was_made_for(world: World, story: Chain) -> None:
    world.store(story)
    answer = world.client().get(f"/v/{world.link(story)}")
    assert answer.status_code == 200
    assert "Event 7 of this record has this fingerprint" in answer.text


def test_a_link_still_holds_when_the_chain_has_grown(world: World, make_chain: Callable[..., Chain]) -> None:
    chain = make_chain()
    chain.append("door.opened", {"door": "north"})
    link = world.link(chain)
    chain.append("door.closed", {"door": "north"})
    chain.close()
    world.store(chain)
    report = world.report(f"/v/{link}")
    assert report["verdict"] == "VERIFIED"


def test_a_consistent_chain_that_was_swapped_in_later_fails(world: World, make_chain: Callable[..., Chain]) -> None:
    chains = []
    for door in ("north", "south"):
        chain = make_chain()
        chain.append("door.opened", {"door": door})
        chain.close()
        chains.append(chain)
    genuine, swapped = chains
    world.store(swapped)
    client = world.client()
    assert world.report(f"/v/{world.link(swapped)}", client)["verdict"] == "VERIFIED"
    report = world.report(f"/v/{world.link(genuine)}", client)
    assert report["verdict"] == "FAILED"
    assert "link-head-missing" in [finding["code"] for finding in report["findings"]]
    assert "FAILED" in client.get(f"/v/{world.link(genuine)}").text.upper()


def test_a_head_that_only_a_broken_chain_states_does_not_count(world: World, story: Chain) -> None:
    pinned = secrets.token_bytes(32)
    story.lines[3] = story.lines[3].replace(story.hashes[3].hex().encode(), pinned.hex().encode())
    world.store(story)
    report = world.report(f"/v/{world.link(story, head=pinned)}")
    assert report["verdict"] == "FAILED"


def test_another_organisations_chain_of_the_same_name_fails(world: World, make_chain: Callable[..., Chain]) -> None:
    theirs = make_chain(organisation={"id": "other", "name": "Other"})
    theirs.close()
    world.store(theirs)
    link = world.link(make_chain(), head=theirs.hashes[-1])
    report = world.report(f"/v/{link}")
    assert report["verdict"] == "FAILED"
    assert report["findings"][0]["code"] == "link-other-chain"


def test_a_bundle_in_its_organisations_folder_is_found(world: World, story: Chain) -> None:
    (world.folder / "acme").mkdir()
    world.store(story, name="acme/demo-1")
    assert world.client().get(f"/v/{world.link(story)}").status_code == 200


def test_an_expired_link_is_gone(world: World, story: Chain) -> None:
    world.store(story)
    expired = int((datetime.now(tz=UTC) - timedelta(seconds=1)).timestamp())
    answer = world.client().get(f"/v/{world.link(story, exp=expired)}")
    assert answer.status_code == 410
    assert "This link has ended" in answer.text


def test_a_revoked_link_is_gone_at_once_and_others_are_not(world: World, story: Chain) -> None:
    world.store(story)
    client = world.client()
    link, other = world.link(story, id="link-9"), world.link(story, id="link-8")
    assert client.get(f"/v/{link}").status_code == 200
    world.key_file.write_text('revoked = ["link-9"]\n' + world.key_file.read_text())
    assert client.get(f"/v/{link}").status_code == 410
    assert client.get(f"/v/{other}").status_code == 200


def test_a_link_signed_with_another_secret_is_unknown(world: World, story: Chain) -> None:
    world.store(story)
    forged = world.link(story, secret=secrets.token_bytes(32))
    assert world.client().get(f"/v/{forged}").status_code == 404


def test_every_changed_character_makes_a_link_unknown(world: World, story: Chain) -> None:
    keys, link = load_link_keys(world.key_file), world.link(story)
    for position in range(len(link)):
        changed = link[:position] + ("A" if link[position] != "A" else "B") + link[position + 1 :]
        # The last character of a base64 text has bits that mean nothing; a decoder may ignore them.
        if position == len(link) - 1:
            continue
        with pytest.raises(LinkRefusedError):
            open_link(changed, keys, now=NOW)


def test_forged_and_unheard_of_links_get_the_same_answer(world: World, story: Chain) -> None:
    world.store(story)
    client = world.client()
    forged = client.get(f"/v/{world.link(story, secret=secrets.token_bytes(32))}")
    expired_and_forged = client.get(f"/v/{world.link(story, secret=secrets.token_bytes(32), exp=1)}")
    nonsense = client.get("/v/k2.nonsense.nonsense")
    missing = client.get(f"/v/{world.link(story, chain='no-such-chain')}")
    assert {answer.status_code for answer in (forged, expired_and_forged, nonsense, missing)} == {404}
    assert forged.data == nonsense.data == missing.data == expired_and_forged.data


@pytest.mark.parametrize(
    "claims",
    [
        {"chain": "../../etc/passwd"},
        {"chain": "a/b"},
        {"chain": ".hidden"},
        {"chain": ""},
        {"chain": "a\x00b"},
        {"org": ".."},
        {"head": "AB" * 32},
        {"head": "ab"},
        {"head": None},
        {"exp": "tomorrow"},
        {"exp": True},
        {"exp": 1e300},
        {"exp": -1},
        {"exp": 10**30},
        {"id": ["link-1"]},
        {"extra": 1},
    ],
)
def test_a_link_with_hostile_claims_is_unknown_even_if_signed(
    world: World, story: Chain, claims: dict[str, object]
) -> None:
    world.store(story)
    body = {
        "chain": "demo-1",
        "org": "acme",
        "head": story.hashes[-1].hex(),
        "exp": 4_000_000_000,
        "id": "link-1",
        **claims,
    }
    serializer = URLSafeSerializer(
        world.secret,
        salt="indelible-verify-link/1",
        signer_kwargs={"key_derivation": "hmac", "digest_method": hashlib.sha256},
    )
    token = "k1." + str(serializer.dumps(body))
    with pytest.raises(LinkRefusedError):
        open_link(token, load_link_keys(world.key_file), now=NOW)
    with pytest.raises(LinkRefusedError):
        read_link(token)
    assert world.client().get(f"/v/{token}").status_code == 404


@pytest.mark.parametrize(
    "token", ["", "x", "k1.", "k1..", "k1.x", "a.b.c.d.e", "k1." + "A" * 2000, "é.a.b", "k1.a.b\n"]
)
def test_a_text_that_is_no_link_is_refused_cleanly(world: World, token: str) -> None:
    keys = load_link_keys(world.key_file)
    with pytest.raises(LinkRefusedError):
        open_link(token, keys, now=NOW)
    with pytest.raises(LinkRefusedError):
        read_link(token)


def test_a_link_that_unpacks_to_far_more_than_its_size_is_refused_cleanly() -> None:
    serializer = URLSafeSerializer(b"", salt="x")
    bomb = "k1." + str(serializer.dumps("[" * 400_000))
    assert len(bomb) < 1024
    with pytest.raises(LinkRefusedError):
        read_link(bomb)


def test_a_key_may_be_rotated_while_links_of_the_old_one_are_still_out(world: World, story: Chain) -> None:
    world.store(story)
    link = world.link(story)
    newer = base64.b64encode(secrets.token_bytes(32)).decode()
    world.key_file.write_text(world.key_file.read_text() + f'k2 = "{newer}"\n')
    client = world.client()
    assert client.get(f"/v/{link}").status_code == 200
    world.key_file.write_text(f'[keys]\nk2 = "{newer}"\n')
    assert client.get(f"/v/{link}").status_code == 404


@pytest.mark.parametrize(
    "text",
    [
        "",
        "keys = 1",
        "[keys]",
        "[keys]\nk1 = 5",
        '[keys]\nk1 = "not base64!"',
        '[keys]\nk1 = "c2hvcnQ="',
        '[keys]\n"a.b" = "' + "A" * 44 + '"',
        'revoked = "x"\n[keys]\nk1 = "' + "A" * 44 + '"',
        "[keys\n",
        "\x00",
    ],
)
def test_a_file_of_keys_that_cannot_be_used_stops_the_page_from_starting(world: World, text: str) -> None:
    world.key_file.write_text(text)
    with pytest.raises(LinkKeysError):
        world.app()


def test_no_link_is_accepted_where_no_keys_and_no_gateway_were_given(world: World, story: Chain) -> None:
    world.store(story)
    assert world.client(link_keys=None).get(f"/v/{world.link(story)}").status_code == 404
