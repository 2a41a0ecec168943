"""Asking nodes: what two of them agree on, and what liars, laggards and hostile servers can do."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace

import pytest

from tests.verifier.tezos.forge import NETWORK, VALUE, block
from tests.verifier.tezos.node_double import NodeDouble
from verifier.tezos import NodeWitnesses, ReceiptResult, TezosTrust, base58, check_receipt
from verifier.tezos.nodes import MAX_ANSWER_BYTES, parse_node

RECEIPT = block()
HASH = RECEIPT.document()["block_hash"]
OTHER = base58.encode(base58.BLOCK_HASH, bytes(32))
Start = Callable[..., NodeDouble]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts nodes; an honest one unless `changes` say otherwise."""
    with ExitStack() as stack:

        def begin(**changes: object) -> NodeDouble:
            honest = NodeDouble(chain_id=NETWORK, hashes={1000: HASH}, head=1010)
            return stack.enter_context(replace(honest, **changes).running())  # type: ignore[arg-type] # a test's own fields

        yield begin


def judged(*nodes: NodeDouble | str, witnesses: NodeWitnesses | None = None, **trust: object) -> ReceiptResult:
    addresses = tuple(node if isinstance(node, str) else node.address for node in nodes)
    known = replace(TezosTrust(chain_id=NETWORK, nodes=addresses), **trust)  # type: ignore[arg-type] # as above
    observer = (witnesses or NodeWitnesses(seconds_per_block=2.0)).observe
    return check_receipt(RECEIPT.receipt(), value=VALUE, trust=known, observer=observer)


def codes(result: ReceiptResult) -> list[str]:
    return [finding.code for finding in result.findings]


def test_two_nodes_that_agree_make_a_receipt_valid(start: Start) -> None:
    first, second = start(), start()
    result = judged(first, second)
    assert (result.ok, result.status) == (True, "valid")
    assert codes(result) == ["tezos-anchored", "tezos-nodes-agree"]
    assert first.asked == ["/chains/main/blocks/head/header", "/chains/main/blocks/1000/header"]


def test_a_path_before_the_rpc_is_kept(start: Start) -> None:
    node = start()
    judged(node.address + "/rpc/", start())
    assert node.asked[0] == "/rpc/chains/main/blocks/head/header"


def test_one_node_is_not_enough(start: Start) -> None:
    result = judged(start())
    assert (result.status, codes(result)) == ("unconfirmed", ["tezos-unconfirmed", "tezos-nodes-missing"])


def test_one_node_under_several_names_is_one_node(start: Start) -> None:
    node = start()
    result = judged(
        node, f"http://localhost:{node.port}/", f"http://127.0.0.2:{node.port}", f"http://[::1]:{node.port}"
    )
    assert codes(result) == ["tezos-unconfirmed", "tezos-nodes-missing"]
    assert node.asked == []


def test_two_nodes_outvote_one_and_the_report_says_so(start: Start) -> None:
    result = judged(start(), start(hashes={1000: OTHER}), start())
    assert result.ok
    assert "tezos-node-disagrees" in codes(result)


def test_two_nodes_that_know_another_block_make_a_receipt_invalid(start: Start) -> None:
    result = judged(start(hashes={1000: OTHER}), start(), start(hashes={1000: OTHER}))
    assert (result.status, codes(result)[0]) == ("invalid", "tezos-block-not-on-network")


@pytest.mark.parametrize("liars", [1, 2])
def test_as_many_against_as_for_settles_nothing(start: Start, liars: int) -> None:
    nodes = [start() for _ in range(liars)] + [start(hashes={1000: OTHER}) for _ in range(liars)]
    result = judged(*nodes)
    assert result.status == "unconfirmed"
    assert "tezos-nodes-undecided" in codes(result)


@pytest.mark.parametrize(("head", "status"), [(1010, "valid"), (1009, "unconfirmed"), (1000, "unconfirmed")])
def test_a_block_counts_only_when_it_lies_deep_enough(start: Start, head: int, status: str) -> None:
    assert judged(start(head=head), start(head=head)).status == status


def test_the_depth_is_the_policys(start: Start) -> None:
    assert judged(start(head=1002), start(head=1002), minimum_confirmations=2).ok
    assert judged(start(head=1002), start(head=1002), minimum_confirmations=3).status == "unconfirmed"


def test_a_shallow_block_that_differs_contradicts_nothing_yet(start: Start) -> None:
    young = {"hashes": {1000: OTHER}, "head": 1003}
    assert judged(start(**young), start(**young)).status == "unconfirmed"


def test_nodes_of_another_network_do_not_count(start: Start) -> None:
    test_network = base58.encode(base58.CHAIN_ID, b"else")
    assert judged(start(chain_id=test_network), start(chain_id=test_network), start()).status == "unconfirmed"


def test_a_known_block_needs_no_node(start: Start) -> None:
    node = start()
    assert judged(node, start(), block_hashes=frozenset({HASH})).ok
    assert node.asked == []


def test_a_receipt_that_is_wrong_in_itself_asks_nobody(start: Start) -> None:
    node = start()
    assert judged(node, start(), signers=frozenset({"tz1other"})).status == "invalid"
    assert node.asked == []


def test_nodes_are_asked_once_about_a_level(start: Start) -> None:
    node, witnesses = start(), NodeWitnesses(seconds_per_block=2.0)
    other = start()
    assert all(judged(node, other, witnesses=witnesses).ok for _ in range(3))
    assert len(node.asked) == 2


def ok(body: bytes, length: int | None = None) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (len(body) if length is None else length) + body


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"garbage\r\n\r\n",
        b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 429 Slow Down\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200 + b"\r\n",
        b"HTTP/1.1 200 " + b"x" * 100_000,
        ok(b"{}", 1000),
        ok(b"{}"),
        ok(b"null"),
        ok(b"\xff\xfe"),
        ok(b"[" * 60_000),
        ok(b" " * (MAX_ANSWER_BYTES + 1)),
        ok(b'{"chain_id":1,"hash":2,"level":3}'),
        ok(b'{"chain_id":"%s","hash":"%s","level":true}' % (NETWORK.encode(), HASH.encode())),
        ok(b'{"chain_id":"%s","hash":"%s","level":1010.0}' % (NETWORK.encode(), HASH.encode())),
        ok(b'{"chain_id":"%s","hash":"%s","level":1e999}' % (NETWORK.encode(), HASH.encode())),
        ok(b'{"chain_id":"%s","hash":"%s","level":%s}' % (NETWORK.encode(), HASH.encode(), b"9" * 5000)),
        ok(b'{"chain_id":"Net\x1b[2J","hash":"%s","level":1010}' % HASH.encode()),
        ok(b'{"chain_id":"%s","hash":"%s","level":1010,"level":1010}' % (NETWORK.encode(), HASH.encode())),
        # The same header for the head and for the block: it contradicts itself.
        ok(b'{"chain_id":"%s","hash":"%s","level":1010}' % (NETWORK.encode(), HASH.encode())),
    ],
)
def test_a_hostile_answer_is_no_answer(start: Start, raw: bytes) -> None:
    result = judged(start(), start(raw=raw))
    assert result.status == "unconfirmed"
    assert "tezos-node-no-answer" in codes(result)
    assert all(finding.message.isprintable() for finding in result.findings)


def test_a_node_behind_the_block_says_nothing(start: Start) -> None:
    assert judged(start(), start(head=999)).status == "unconfirmed"


def test_a_node_that_is_down_says_nothing(start: Start) -> None:
    assert judged(start(), "http://127.0.0.1:1").status == "unconfirmed"


def test_a_name_that_does_not_resolve_says_nothing(start: Start) -> None:
    assert judged(start(), "https://node.invalid").status == "unconfirmed"


@pytest.mark.parametrize("changes", [{"pause": 60.0}, {"trickle": True}])
def test_a_slow_server_cannot_hold_up_the_verifier(start: Start, changes: dict[str, object]) -> None:
    began = time.monotonic()
    result = judged(start(), start(**changes), witnesses=NodeWitnesses(seconds_per_block=0.3))
    assert time.monotonic() - began < 30
    assert result.status == "unconfirmed"
    assert "did not answer in time" in result.findings[-1].message


def test_a_whole_run_has_a_time_limit_too(start: Start) -> None:
    node = start()
    assert judged(node, start(), witnesses=NodeWitnesses(seconds_in_all=0.0)).status == "unconfirmed"
    assert node.asked == []


@pytest.mark.parametrize(
    "address",
    [
        "",
        "node.example",
        "http://node.example",
        "http://10.0.0.1:8732",
        "ftp://127.0.0.1",
        "file:///etc/passwd",
        "https://",
        "https://user@node.example",
        "https://node.example?x=1",
        "https://node.example#x",
        "https://node.example:99999",
        "https://node.example:x",
        "https://node.example/a b",
        "https://node.example/\r\nHost: other",
        "https://nöde.example",
        "https://[::1",
    ],
)
def test_an_address_that_is_no_plain_https_one_is_refused(address: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_node(address)


def test_independent_nodes_are_told_apart_by_host_and_port() -> None:
    names = [
        parse_node(address).name
        for address in ("https://A.example", "https://a.example:443/x", "https://a.example.", "https://a.example:444")
    ]
    assert names == ["a.example:443"] * 3 + ["a.example:444"]
