"""Asking nodes of the user's choice whether a block is on the network: the only thing here that uses a network.

What nodes say is trusted only as far as independent ones agree. Two count as independent when they differ in host or
port. A block is seen when at least two say that it is the block at its level and lies deep enough, and more say so than
say otherwise; it is known to be absent when the same holds for "otherwise". Everything else settles nothing.

Answers are hostile: their size is bounded, they are parsed strictly, and whoever has not answered by the deadline has
not answered.
"""

import http.client
import ipaddress
import queue
import ssl
import threading
import time
from dataclasses import dataclass
from urllib.parse import urlsplit

from verifier.findings import Finding, Severity
from verifier.tezos import base58
from verifier.tezos.block import HASH_BYTES
from verifier.tezos.strict_json import parse_json
from verifier.tezos.trust import Sighting, TezosTrust

AGREEING_NODES = 2
MAX_NODES = 16  # a policy that names more is a mistake
SECONDS_PER_BLOCK = 20.0  # to ask all nodes, at once, about one block
SECONDS_IN_ALL = 120.0  # for all blocks of one run: a hostile bundle may name thousands
MAX_ANSWER_BYTES = 64 * 1024  # a header has about 2 KB as JSON
_HEADER = "/chains/main/blocks/{}/header"
_OK = 200
_LATE = "did not answer in time"


@dataclass(frozen=True, kw_only=True, slots=True)
class Node:
    """The address of a node's RPC."""

    secure: bool
    host: str
    port: int
    path: str

    @property
    def name(self) -> str:
        """What tells independent nodes apart: this machine has several names and is one host."""
        if _is_loopback(self.host):
            return f"localhost:{self.port}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class _NoAnswerError(Exception):
    """The node gave no usable answer; the text says why and holds nothing that the node wrote."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Header:
    chain_id: str
    hash: str
    level: int


@dataclass(frozen=True, kw_only=True, slots=True)
class _Answer:
    """What one node said about one level."""

    node: Node
    problem: str = ""
    chain_id: str = ""
    hash: str = ""
    confirmations: int = 0


def parse_node(address: str) -> Node:
    """Reads `https://HOST[:PORT][/PATH]`, or the same with http on this machine. Raises ValueError."""
    parts = urlsplit(address)
    if parts.username or parts.password or parts.query or parts.fragment or not parts.hostname:
        raise ValueError(f"{address!r:.100} is not the plain address of a node")
    if any(character <= " " or character > "~" for character in address):
        raise ValueError(f"{address!r:.100} holds characters that no address has")
    secure = parts.scheme == "https"
    if not secure and (parts.scheme != "http" or not _is_loopback(parts.hostname)):
        raise ValueError(f"{address!r:.100} must begin with https:// (http only for this machine itself)")
    port = parts.port if parts.port is not None else 443 if secure else 80
    return Node(secure=secure, host=parts.hostname.rstrip("."), port=port, path=parts.path.rstrip("/"))


class NodeWitnesses:
    """Asks nodes about blocks, for one run of the verifier; remembers what they said about a level."""

    def __init__(self, *, seconds_per_block: float = SECONDS_PER_BLOCK, seconds_in_all: float = SECONDS_IN_ALL) -> None:
        self._seconds_per_block = seconds_per_block
        self._seconds_left = seconds_in_all
        self._answers: dict[tuple[tuple[str, ...], int], tuple[_Answer, ...]] = {}

    def observe(self, trust: TezosTrust, level: int, block_hash: str) -> Sighting:
        """Asks the trust's nodes whether the block at `level` has `block_hash` and lies deep enough."""
        nodes = {node.name: node for node in map(parse_node, trust.nodes)}
        if len(nodes) < AGREEING_NODES:
            text = f"Your trust policy names {len(nodes)} node(s) for this; at least {AGREEING_NODES} must agree."
            return Sighting(seen=None, findings=(_warning("tezos-nodes-missing", text),))
        key = (tuple(nodes), level)
        if key not in self._answers:
            began = time.monotonic()
            seconds = min(self._seconds_per_block, max(0.0, self._seconds_left))
            self._answers[key] = _ask_all(list(nodes.values()), level, seconds)
            self._seconds_left -= time.monotonic() - began
        return _weigh(self._answers[key], trust, level, block_hash)


def _weigh(answers: tuple[_Answer, ...], trust: TezosTrust, level: int, block_hash: str) -> Sighting:
    agree: list[_Answer] = []
    differ: list[_Answer] = []
    findings: list[Finding] = []
    for answer in answers:
        problem = answer.problem or _problem(answer, trust)
        if problem:
            findings.append(_warning("tezos-node-no-answer", f"The node {answer.node.name} {problem}."))
        elif answer.hash == block_hash:
            agree.append(answer)
        else:
            differ.append(answer)
            text = f"The node {answer.node.name} says that block {level} is {answer.hash}."
            findings.append(_warning("tezos-node-disagrees", text))
    if len(agree) >= AGREEING_NODES and len(agree) > len(differ):
        depth = min(answer.confirmations for answer in agree)
        names = ", ".join(answer.node.name for answer in agree)
        text = f"{len(agree)} nodes ({names}) say that the block is on the network, with {depth} blocks or more on top."
        return Sighting(
            seen=True, findings=(Finding(code="tezos-nodes-agree", severity=Severity.INFO, message=text), *findings)
        )
    if len(differ) >= AGREEING_NODES and len(differ) > len(agree):
        text = f"{len(differ)} nodes say that the network has another block at level {level}."
        error = Finding(code="tezos-block-not-on-network", severity=Severity.ERROR, message=text)
        return Sighting(seen=False, findings=(error, *findings))
    text = f"{len(agree)} node(s) confirmed the block and {len(differ)} contradicted; {AGREEING_NODES} must agree."
    return Sighting(seen=None, findings=(_warning("tezos-nodes-undecided", text), *findings))


def _problem(answer: _Answer, trust: TezosTrust) -> str:
    """Why an answer says nothing about the block, or nothing yet."""
    if trust.chain_id is not None and answer.chain_id != trust.chain_id:
        return f"is on the network {answer.chain_id}, not {trust.chain_id}"
    if answer.confirmations < trust.minimum_confirmations:
        return (
            f"has {max(0, answer.confirmations)} blocks on top of this one, and your policy asks for "
            f"{trust.minimum_confirmations}"
        )
    return ""


def _ask_all(nodes: list[Node], level: int, seconds: float) -> tuple[_Answer, ...]:
    """Asks all nodes at once and waits no longer than `seconds`."""
    answers: queue.SimpleQueue[_Answer] = queue.SimpleQueue()
    deadline = time.monotonic() + seconds
    for node in nodes if seconds > 0 else ():
        # Daemons: one that hangs in name resolution or on a trickling server must not keep the program alive.
        threading.Thread(target=lambda node=node: answers.put(_ask(node, level, seconds)), daemon=True).start()
    received: dict[str, _Answer] = {}
    while len(received) < len(nodes):
        try:
            answer = answers.get(timeout=max(0.0, deadline - time.monotonic()))
        except queue.Empty:
            break
        received[answer.node.name] = answer
    return tuple(received.get(node.name, _Answer(node=node, problem=_LATE)) for node in nodes)


def _ask(node: Node, level: int, seconds: float) -> _Answer:
    connection = (
        http.client.HTTPSConnection(node.host, node.port, timeout=seconds, context=ssl.create_default_context())
        if node.secure
        else http.client.HTTPConnection(node.host, node.port, timeout=seconds)
    )
    try:
        head = _header(connection, node, "head")
        if head.level < level:
            return _Answer(node=node, problem=f"has not reached block {level}")
        block = _header(connection, node, str(level))
        if block.level != level or block.chain_id != head.chain_id:
            return _Answer(node=node, problem="contradicts itself")
    except _NoAnswerError as error:
        return _Answer(node=node, problem=str(error))
    except TimeoutError:
        # The socket's own time-out may come a moment before the queue's: it means the same.
        return _Answer(node=node, problem=_LATE)
    except (OSError, http.client.HTTPException) as error:
        return _Answer(node=node, problem=f"could not be asked ({type(error).__name__})")
    finally:
        connection.close()
    return _Answer(node=node, chain_id=block.chain_id, hash=block.hash, confirmations=head.level - level)


def _header(connection: http.client.HTTPConnection, node: Node, block: str) -> _Header:
    connection.request("GET", node.path + _HEADER.format(block), headers={"Accept": "application/json"})
    response = connection.getresponse()
    body = response.read(MAX_ANSWER_BYTES + 1)
    if response.status != _OK:
        raise _NoAnswerError(f"answered with status {response.status}")
    if len(body) > MAX_ANSWER_BYTES:
        raise _NoAnswerError(f"answered with more than {MAX_ANSWER_BYTES} bytes")
    try:
        members = parse_json(body)
        chain_id, block_hash, level = members["chain_id"], members["hash"], members["level"]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise _NoAnswerError("gave an answer that is no block header") from None
    if not (
        _is_hash(chain_id, base58.CHAIN_ID, base58.CHAIN_ID_BYTES)
        and _is_hash(block_hash, base58.BLOCK_HASH, HASH_BYTES)
        and type(level) is int
    ):
        raise _NoAnswerError("gave an answer that is no block header")
    return _Header(chain_id=chain_id, hash=block_hash, level=level)


def _is_hash(value: object, prefix: bytes, length: int) -> bool:
    return isinstance(value, str) and base58.decode(value, prefix, length) is not None


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _warning(code: str, message: str) -> Finding:
    return Finding(code=code, severity=Severity.WARNING, message=message)
