import base64
import hashlib
import zlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from itsdangerous import URLSafeSerializer

from ledger.errors import LedgerError, Reason
from ledger.store.values import VerifyLink
from ledger.verify_links import (
    MAX_TOKEN_CHARACTERS,
    LinkKeys,
    LinkKeysError,
    load_link_keys,
    make_token,
    open_link,
    read_token,
)
from verifier.web.links import load_link_keys as load_page_keys
from verifier.web.links import open_link as open_on_page

NOW = datetime(2026, 5, 6, 7, 8, 9, tzinfo=UTC)
OLD = LinkKeys(current="old", secrets={"old": b"o" * 32})
BOTH = LinkKeys(current="new", secrets={"new": b"n" * 32, "old": b"o" * 32})
LINK = VerifyLink(
    link_id="6f1c1f0e-8a35-4f7e-9a55-2f9f8d1c7b11",
    organisation_id="acme",
    chain_id="demo-1",
    head=bytes(range(32)),
    head_sequence=7,
    expires_at=NOW + timedelta(days=90),
    revoked_at=None,
)


class StoredLinks:
    """The rows of a store, as `find_verify_link` gives them."""

    def __init__(self, *links: VerifyLink) -> None:
        self._links = {(link.organisation_id, link.link_id): link for link in links}

    async def find_verify_link(self, organisation_id: str, link_id: str) -> VerifyLink:
        if (organisation_id, link_id) not in self._links:
            raise LedgerError(Reason.LINK_UNKNOWN, "there is no such verify link")
        return self._links[organisation_id, link_id]


async def refusal(token: str, store: StoredLinks, now: datetime = NOW) -> Reason:
    with pytest.raises(LedgerError) as refused:
        await open_link(store, token, BOTH, now=now)
    return refused.value.reason


def signed(claims: object, secret: bytes = b"n" * 32, salt: str = "indelible-verify-link/1") -> str:
    text = URLSafeSerializer(secret, salt=salt, signer_kwargs=_SIGNER).dumps(claims)
    return "new." + (text if isinstance(text, str) else text.decode())


_SIGNER = {"key_derivation": "hmac", "digest_method": hashlib.sha256}
CLAIMS = {"chain": "demo-1", "exp": 1_800_000_000, "head": "00" * 32, "id": LINK.link_id, "org": "acme"}


async def test_a_token_opens_the_link_it_was_made_for() -> None:
    assert await open_link(StoredLinks(LINK), make_token(LINK, BOTH), BOTH, now=NOW) == LINK


async def test_a_token_of_an_older_key_still_opens_its_link() -> None:
    token = make_token(LINK, OLD)
    assert token.startswith("old.")
    assert await open_link(StoredLinks(LINK), token, BOTH, now=NOW) == LINK


async def test_a_token_of_a_removed_key_opens_nothing() -> None:
    removed = LinkKeys(current="gone", secrets={"gone": b"g" * 32})
    assert await refusal(make_token(LINK, removed), StoredLinks(LINK)) == Reason.LINK_UNKNOWN


async def test_a_key_id_cannot_be_swapped_for_another() -> None:
    token = make_token(LINK, OLD).replace("old.", "new.", 1)
    assert await refusal(token, StoredLinks(LINK)) == Reason.LINK_UNKNOWN


def test_the_verify_page_reads_the_same_token(tmp_path: Path) -> None:
    file = tmp_path / "keys.toml"
    secret = base64.b64encode(b"n" * 32).decode()
    file.write_text(f'current = "new"\n[keys]\nnew = "{secret}"\n')
    token = make_token(LINK, load_link_keys(file))
    opened = open_on_page(token, load_page_keys(file), now=NOW)
    assert (opened.chain_id, opened.organisation_id, opened.head) == ("demo-1", "acme", LINK.head)
    assert (opened.link_id, opened.expires_at) == (LINK.link_id, LINK.expires_at)


# Not the last character: base64 gives it bits that decode to nothing.
@pytest.mark.parametrize("position", range(len(make_token(LINK, BOTH)) - 1))
def test_no_single_changed_character_leaves_a_token_genuine(position: int) -> None:
    token = make_token(LINK, BOTH)
    changed = "A" if token[position] != "A" else "B"
    with pytest.raises(LedgerError) as refused:
        read_token(token[:position] + changed + token[position + 1 :], BOTH)
    assert refused.value.reason == Reason.LINK_UNKNOWN


@given(st.text(max_size=200))
def test_any_text_is_refused_as_unknown(text: str) -> None:
    with pytest.raises(LedgerError) as refused:
        read_token(text, BOTH)
    assert refused.value.reason == Reason.LINK_UNKNOWN


@pytest.mark.parametrize(
    "claims",
    [
        {**CLAIMS, "exp": True},
        {**CLAIMS, "exp": -1},
        {**CLAIMS, "exp": 10**18},
        {**CLAIMS, "exp": "1800000000"},
        {**CLAIMS, "head": "00" * 31},
        {**CLAIMS, "head": "AA" * 32},
        {**CLAIMS, "chain": "../../etc/passwd"},
        {**CLAIMS, "org": "acme\n"},
        {**CLAIMS, "id": ""},
        {**CLAIMS, "extra": 1},
        {key: value for key, value in CLAIMS.items() if key != "org"},
        [CLAIMS],
        "text",
    ],
)
def test_genuinely_signed_nonsense_is_refused(claims: object) -> None:
    with pytest.raises(LedgerError) as refused:
        read_token(signed(claims), BOTH)
    assert refused.value.reason == Reason.LINK_UNKNOWN


def test_a_token_signed_for_another_purpose_is_refused() -> None:
    assert read_token(signed(CLAIMS), BOTH).chain_id == "demo-1"
    with pytest.raises(LedgerError):
        read_token(signed(CLAIMS, salt="itsdangerous"), BOTH)


def test_a_token_longer_than_any_of_ours_is_not_even_hashed() -> None:
    bomb = base64.urlsafe_b64encode(zlib.compress(b"0" * 10_000_000)).decode().rstrip("=")
    with pytest.raises(LedgerError):
        read_token(f"new..{bomb}", BOTH)
    longest = replace(LINK, organisation_id="o" * 64, chain_id="c" * 64)
    assert len(make_token(longest, LinkKeys(current="k" * 64, secrets={"k" * 64: b"n" * 32}))) < MAX_TOKEN_CHARACTERS


async def test_a_revoked_link_is_refused_even_when_it_has_expired_too() -> None:
    revoked = replace(LINK, revoked_at=NOW)
    store = StoredLinks(revoked)
    assert await refusal(make_token(LINK, BOTH), store) == Reason.LINK_REVOKED
    assert await refusal(make_token(LINK, BOTH), store, NOW + timedelta(days=365)) == Reason.LINK_REVOKED


async def test_a_link_ends_at_the_very_moment_it_expires() -> None:
    token = make_token(LINK, BOTH)
    last_moment = LINK.expires_at - timedelta(microseconds=1)
    assert await open_link(StoredLinks(LINK), token, BOTH, now=last_moment) == LINK
    assert await refusal(token, StoredLinks(LINK), LINK.expires_at) == Reason.LINK_EXPIRED


async def test_a_token_cannot_outlive_what_the_store_says() -> None:
    generous = make_token(replace(LINK, expires_at=NOW + timedelta(days=900)), BOTH)
    assert await refusal(generous, StoredLinks(LINK), LINK.expires_at) == Reason.LINK_EXPIRED


async def test_a_genuine_token_whose_row_says_otherwise_opens_nothing() -> None:
    token = make_token(LINK, BOTH)
    assert await refusal(token, StoredLinks(replace(LINK, chain_id="other"))) == Reason.LINK_UNKNOWN
    assert await refusal(token, StoredLinks(replace(LINK, head=bytes(32)))) == Reason.LINK_UNKNOWN
    assert await refusal(token, StoredLinks()) == Reason.LINK_UNKNOWN


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "[keys]"),
        ("keys = 3", "[keys]"),
        ("[keys]", "[keys]"),
        ('[keys]\na = "not base64!"', "not base64"),
        ('[keys]\na = "c2hvcnQ="', "shorter than 32 bytes"),
        ("[keys]\na = 5", "not base64"),
        (f'[keys]\n"a b" = "{base64.b64encode(bytes(32)).decode()}"', "a key id"),
        (
            f'[keys]\na = "{base64.b64encode(bytes(32)).decode()}"\nb = "{base64.b64encode(bytes(32)).decode()}"',
            "current",
        ),
        (f'current = ["a"]\n[keys]\na = "{base64.b64encode(bytes(32)).decode()}"', "current"),
        (f'current = "b"\n[keys]\na = "{base64.b64encode(bytes(32)).decode()}"', "current"),
        ("[keys", "keys.toml"),
    ],
)
def test_an_unusable_file_of_keys_is_explained(tmp_path: Path, text: str, complaint: str) -> None:
    file = tmp_path / "keys.toml"
    file.write_text(text)
    with pytest.raises(LinkKeysError) as refused:
        load_link_keys(file)
    assert complaint in str(refused.value)


def test_a_missing_file_of_keys_is_named(tmp_path: Path) -> None:
    with pytest.raises(LinkKeysError, match=r"absent\.toml"):
        load_link_keys(tmp_path / "absent.toml")
