"""Our signatures are believed by somebody else's library, and nothing forged, altered or late is believed by us."""

import base64
import hashlib
import hmac
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook, WebhookVerificationError

from gateway.webhooks.signing import (
    SignatureError,
    new_secret,
    read_secret,
    show_secret,
    sign,
    verify,
    verify_body_only,
)

SECRET = b"0123456789abcdef0123456789abcdef"
OTHER = b"fedcba9876543210fedcba9876543210"
BODY = b'{"type":"clip.preserved","data":{"clip":"k\xc3\xbchl"}}'
NOW = 1_800_000_000


def test_another_library_believes_what_we_sign() -> None:
    now = int(datetime.now(UTC).timestamp())
    headers = sign([SECRET], "evt_1", now, BODY)
    assert Webhook(show_secret(SECRET)).verify(BODY, headers)["type"] == "clip.preserved"


def test_another_library_believes_either_secret_while_one_replaces_the_other() -> None:
    now = int(datetime.now(UTC).timestamp())
    headers = sign([OTHER, SECRET], "evt_1", now, BODY)
    for secret in (SECRET, OTHER):
        Webhook(show_secret(secret)).verify(BODY, headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(show_secret(new_secret())).verify(BODY, headers)


def test_we_believe_what_another_library_signs() -> None:
    now = datetime.now(UTC)
    signature = Webhook(show_secret(SECRET)).sign("alert-7", now, BODY.decode())
    headers = {
        "webhook-id": "alert-7",
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": f"v1a,c29tZXRoaW5n {signature}",
    }
    assert verify([OTHER, SECRET], headers, BODY, now=now.timestamp()) == "alert-7"


@pytest.mark.parametrize(
    "changes",
    [
        {"webhook-id": "evt_2"},
        {"webhook-id": ""},
        {"webhook-id": "evt_1\n"},
        {"webhook-id": "e" * 257},
        {"webhook-timestamp": str(NOW + 1)},
        {"webhook-timestamp": ""},
        {"webhook-timestamp": "1e9"},
        {"webhook-timestamp": "-1"},
        {"webhook-timestamp": "\u0661"},
        {"webhook-timestamp": "9" * 5000},
        {"webhook-signature": ""},
        {"webhook-signature": "v1,"},
        {"webhook-signature": "v1," + base64.b64encode(bytes(32)).decode()},
        {"webhook-signature": "v2," + base64.b64encode(bytes(32)).decode()},
        {"webhook-signature": "v1,\u00fc"},
    ],
)
def test_a_changed_header_is_not_believed(changes: dict[str, str]) -> None:
    with pytest.raises(SignatureError):
        verify([SECRET], sign([SECRET], "evt_1", NOW, BODY) | changes, BODY, now=NOW)


def test_a_changed_body_a_strange_secret_or_none_is_not_believed() -> None:
    headers = sign([SECRET], "evt_1", NOW, BODY)
    for secrets, body in (([SECRET], BODY + b" "), ([OTHER], BODY), ([], BODY)):
        with pytest.raises(SignatureError):
            verify(secrets, headers, body, now=NOW)


@pytest.mark.parametrize("late", [-301, 301, 10**9])
def test_a_message_from_another_time_is_not_believed(late: int) -> None:
    headers = sign([SECRET], "evt_1", NOW, BODY)
    verify([SECRET], headers, BODY, now=NOW + 299)
    with pytest.raises(SignatureError, match="too far"):
        verify([SECRET], headers, BODY, now=NOW + late)


def test_nobody_may_send_a_list_of_guesses() -> None:
    right = sign([SECRET], "evt_1", NOW, BODY)["webhook-signature"]
    guesses = " ".join(["v1,AAAA"] * 8 + [right])
    headers = sign([SECRET], "evt_1", NOW, BODY) | {"webhook-signature": guesses}
    with pytest.raises(SignatureError):
        verify([SECRET], headers, BODY, now=NOW)


def test_who_signs_the_body_alone_is_believed_for_that_body_only() -> None:
    mac = hmac.new(SECRET, BODY, hashlib.sha256).hexdigest()
    first = verify_body_only([OTHER, SECRET], f"sha256={mac}", BODY)
    assert first == verify_body_only([SECRET], mac.upper(), BODY)
    for signature, body in (
        (mac, BODY + b"x"),
        ("", BODY),
        ("sha256=", BODY),
        ("sha256=\u00e4", BODY),
        (mac[:-1], BODY),
    ):
        with pytest.raises(SignatureError):
            verify_body_only([SECRET], signature, body)


@given(
    st.dictionaries(st.sampled_from(["webhook-id", "webhook-timestamp", "webhook-signature"]), st.text()), st.binary()
)
def test_whatever_is_sent_is_refused_and_nothing_else_happens(headers: dict[str, str], body: bytes) -> None:
    with pytest.raises(SignatureError):
        verify([SECRET], headers, body, now=NOW)
    with pytest.raises(SignatureError):
        verify_body_only([SECRET], headers.get("webhook-signature", ""), body)


def test_a_secret_is_read_as_it_was_shown_and_nothing_else_is() -> None:
    assert read_secret(show_secret(SECRET)) == SECRET
    for text in ("", "whsec_", "whsec_!!!!", show_secret(b"short"), show_secret(bytes(65)), "\u00fc"):
        with pytest.raises(ValueError, match="secret") as refused:
            read_secret(text)
        assert not text or text not in str(refused.value)
