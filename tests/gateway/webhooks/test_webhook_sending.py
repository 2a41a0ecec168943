"""One attempt: what a receiver does is told, and never believed further than that."""

import ipaddress
import socket

import pytest
from standardwebhooks import Webhook

from gateway.webhooks import sending
from gateway.webhooks.sending import Sender
from gateway.webhooks.signing import new_secret, show_secret
from tests.gateway.webhooks.receiver import Receiver, answer

LOOPBACK = [ipaddress.ip_network("127.0.0.0/8")]
BODY = b'{"type":"hold.placed","data":{}}'


@pytest.fixture
def sender() -> Sender:
    return Sender(LOOPBACK)


async def test_an_accepted_message_arrives_as_it_was_signed(sender: Sender) -> None:
    secret = new_secret()
    async with Receiver() as receiver:
        attempt = await sender.send(receiver.url, [secret], "evt_1", BODY)
    assert attempt.accepted
    assert (attempt.status, attempt.problem) == (200, "")
    (received,) = receiver.received
    assert received.path == "/hooks?x=1"
    assert received.headers["content-type"] == "application/json"
    assert received.headers["host"] == f"127.0.0.1:{receiver.port}"
    Webhook(show_secret(secret)).verify(received.body, received.headers)


@pytest.mark.parametrize("status", [301, 302, 307, 400, 404, 410, 500, 503])
async def test_any_other_status_is_a_failure_and_no_redirect_is_followed(sender: Sender, status: int) -> None:
    async with Receiver() as other, Receiver() as receiver:
        receiver.answers = [answer(status, b"go away", f"location: {other.url}")]
        attempt = await sender.send(receiver.url, [new_secret()], "evt_1", BODY)
    assert not attempt.accepted
    assert attempt.problem == f"answered with status {status}"
    assert attempt.answer == "go away"
    assert attempt.gone == (status == 410)
    assert other.received == []


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("120", 120), ("0", 0), ("999999999", 86_400), ("-5", None), ("soon", None), ("9" * 5000, None), ("1.5", None)],
)
async def test_a_receiver_that_wants_to_be_left_alone_is(sender: Sender, header: str, seconds: int | None) -> None:
    async with Receiver([answer(429, b"", f"retry-after: {header}")]) as receiver:
        attempt = await sender.send(receiver.url, [new_secret()], "evt_1", BODY)
    assert attempt.retry_after_seconds == seconds


@pytest.mark.parametrize(
    "rude",
    [
        b"",
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 200",
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nab",
        b"\x16\x03\x01\x00\x00",
    ],
)
async def test_what_is_not_http_is_a_failure_in_words(sender: Sender, rude: bytes) -> None:
    async with Receiver([rude]) as receiver:
        attempt = await sender.send(receiver.url, [new_secret()], "evt_1", BODY)
    assert not attempt.accepted
    assert attempt.problem.startswith("the connection failed")


async def test_only_the_beginning_of_a_long_answer_is_read_and_only_what_is_printable(sender: Sender) -> None:
    async with Receiver([answer(500, b"\x00\x1b[31m\xff" + b"x" * 5_000_000)]) as receiver:
        attempt = await sender.send(receiver.url, [new_secret()], "evt_1", BODY)
    assert len(attempt.answer) <= sending.MAX_ANSWER_BYTES
    assert attempt.answer.isprintable()


async def test_a_receiver_that_dawdles_is_given_up(sender: Sender, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sending, "TOTAL_SECONDS", 0.3)
    async with Receiver(hold_seconds=3600) as receiver:
        attempt = await sender.send(receiver.url, [new_secret()], "evt_1", BODY)
    assert attempt.status is None
    assert "0.3 seconds" in attempt.problem
    assert attempt.seconds < 60


async def test_who_is_not_there_or_out_of_reach_is_told_without_a_connection() -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        port = nobody.getsockname()[1]
        refused = await Sender(LOOPBACK).send(f"http://127.0.0.1:{port}/", [new_secret()], "evt_1", BODY)
    assert refused.problem.startswith("the connection failed")
    async with Receiver() as receiver:
        guarded = await Sender().send(receiver.url, [new_secret()], "evt_1", BODY)
        assert "where webhooks are not sent" in guarded.problem
        assert receiver.received == []
