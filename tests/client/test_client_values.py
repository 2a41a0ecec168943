import datetime as dt
import decimal
import enum
import math
from typing import Any

import pytest

from ledger.client import ClientTls, LedgerClient
from ledger.client.channel import pause_seconds
from ledger.client.convert import payload_bytes


class Colour(str, enum.Enum):  # noqa: UP042 - what callers write
    RED = "red"


def test_a_payload_is_written_sorted_and_without_spaces() -> None:
    assert (
        payload_bytes({"b": [1, "é"], "a": {"d": None, "c": True}}) == '{"a":{"c":true,"d":null},"b":[1,"é"]}'.encode()
    )


def test_bytes_go_as_they_are() -> None:
    assert payload_bytes(b'{ "a" : 1 }') == b'{ "a" : 1 }'


@pytest.mark.parametrize(
    "value",
    [
        math.nan,
        math.inf,
        -math.inf,
        {"deep": [1, [2, math.nan]]},
        2**64,
        {1: "a"},
        {"a": {2: "b"}},
        "\ud800",
        {"\udfff": 1},
        dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
        dt.date(2026, 1, 1),
        decimal.Decimal(1),
        pytest.param(object(), id="object"),  # whose repr is another in every process
        {1, 2},
        b"bytes",
        type("Text", (str,), {})("x"),
    ],
    ids=repr,
)
def test_what_json_cannot_hold_is_refused_and_never_turned_into_something_else(value: Any) -> None:
    with pytest.raises(ValueError, match="not JSON"):
        payload_bytes({"value": value, "nothing": None})


def test_a_real_null_is_not_mistaken_for_a_number() -> None:
    assert payload_bytes({"a": None, "b": 1.5}) == b'{"a":null,"b":1.5}'


@pytest.mark.parametrize("address", ["ledger", "ledger:", ":50051", "host:99999", "host:port", ""])
async def test_an_address_that_is_none_is_refused(address: str) -> None:
    with pytest.raises(ValueError, match="HOST:PORT"):
        LedgerClient(address, token="t")


async def test_a_token_is_never_sent_beyond_this_machine_without_encryption() -> None:
    with pytest.raises(ValueError, match="TLS"):
        LedgerClient("ledger.example.org:50051", token="t")
    await LedgerClient("ledger.example.org:50051", token="t", tls=ClientTls()).close()


@pytest.mark.parametrize(
    "authority", [b"", b"nonsense", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"]
)
def test_a_certificate_authority_that_is_none_is_refused_at_once(authority: bytes) -> None:
    with pytest.raises(ValueError, match="not a certificate in PEM"):
        ClientTls(certificate_authority=authority)


@pytest.mark.parametrize("key", ["", "name", "name+00000000+AAAA", "name+zz+AQ==", "+abc"])
async def test_a_receipt_key_that_is_none_is_refused(key: str) -> None:
    if key:
        with pytest.raises(ValueError, match="key"):
            LedgerClient("127.0.0.1:1", token="t", receipt_key=key)


def test_pauses_grow_and_stay_bounded() -> None:
    pauses = [pause_seconds(attempt) for attempt in range(1000)]
    assert all(0 < pause <= 2 for pause in pauses)
    assert pauses[0] < 0.06
    assert min(pauses[8:]) >= 1
