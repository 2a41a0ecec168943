"""Making an operation for a root: which counter, which branch, what fee.

What nodes say here is not simply believed: two must agree, or a limit of our own bounds what a lie may cost.
"""

import asyncio
import math
import re
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeVar

from ledger.anchoring.port import RefusedError
from ledger.anchoring.tezos.chain import View
from ledger.anchoring.tezos.configuration import TezosConfiguration
from ledger.anchoring.tezos.forge import Call, Limits, public_key_text
from ledger.anchoring.tezos.journal import Attempt
from ledger.anchoring.tezos.keys import Signer
from ledger.anchoring.tezos.node import Block, Node, NodeError
from verifier.tezos import base58
from verifier.tezos.block import HASH_BYTES
from verifier.tezos.keys import SIGNATURE_BYTES, PublicKey

AGREEING_NODES = 2
BRANCH_DEPTH = 2  # blocks below the head: final by the protocol, so that no reorganisation takes the branch away

_TRIAL_LIMITS = Limits(fee=0, gas=100_000)
_GAS_RESERVE = 100  # for a state of the chain that differs a little from the one it was tried on
_REVEAL_GAS = 1_000  # at least, whatever the trial says: signature checks are not part of it
# What bakers ask for by default, in millionths of a tez (docs of octez-baker: --minimal-fees and its companions).
_FEE_BASE, _FEE_PER_GAS, _FEE_PER_BYTE = 100, 0.1, 1.0
_FEE_MARGIN = 1.1
_ERROR_ID = re.compile(r"[A-Za-z0-9._-]{1,100}")
_NO_SIGNATURE = base58.encode(bytes([4, 130, 43]), bytes(SIGNATURE_BYTES))

T = TypeVar("T")


class NotYetError(Exception):
    """It cannot be done at the moment, though nothing is wrong for good. The text is for the operator."""


async def agreed(views: Sequence[View], ask: Callable[[View], Awaitable[T]], what: str) -> T:
    """What two nodes at least, and more than say otherwise, answer to `ask`. Raises NotYetError."""
    answers: Counter[T] = Counter()
    troubles: list[str] = []
    found = await asyncio.gather(*(ask(view) for view in views), return_exceptions=True)
    for view, answer in zip(views, found, strict=True):
        if isinstance(answer, NodeError):
            troubles.append(f"{view.node.name}: {answer}")
        elif isinstance(answer, BaseException):
            raise answer
        else:
            answers[answer] += 1
    ranked = answers.most_common(2)
    if ranked and ranked[0][1] >= AGREEING_NODES and (len(ranked) == 1 or ranked[0][1] > ranked[1][1]):
        return ranked[0][0]
    trouble = "".join(f"; {text}" for text in troubles)
    raise NotYetError(f"{AGREEING_NODES} nodes do not agree on {what}{trouble}")


async def sign_attempt(
    configuration: TezosConfiguration, signer: Signer, views: Sequence[View], *, root: bytes, number: int
) -> Attempt:
    """A signed operation that anchors `root`, with the account's next counter. Nothing has been sent with it yet.

    Raises NotYetError, and RefusedError when the operation would fail or cost too much.
    """
    key = await signer.public_key()
    branch = await _branch(views)
    used = await agreed(views, lambda view: view.node.counter(view.head.hash, key.address), "the account's counter")
    revealed = await agreed(
        views, lambda view: view.node.manager_key(view.head.hash, key.address), "whether the account's key is revealed"
    )
    if revealed not in {None, public_key_text(key)}:
        raise RefusedError("the account's revealed key is another one than the signer's")
    call = await _priced(configuration, views, key, root, used + 1, branch, reveal=revealed is None)
    unsigned = call.forge(_raw(branch.hash))
    operation = unsigned + await signer.sign(unsigned)
    return Attempt(number=number, counter=call.counter, branch_level=branch.level, operation=operation)


async def _branch(views: Sequence[View]) -> Block:
    level = max(0, min(view.head.level for view in views) - BRANCH_DEPTH)

    async def ask(view: View) -> Block:
        return await view.node.block(str(level))

    return await agreed(views, ask, f"the block at level {level}")


async def _priced(  # noqa: PLR0913, PLR0917  # each is one independent part of the call
    configuration: TezosConfiguration,
    views: Sequence[View],
    key: PublicKey,
    root: bytes,
    counter: int,
    branch: Block,
    *,
    reveal: bool,
) -> Call:
    trial = _call(configuration, key, root, counter, _TRIAL_LIMITS, _TRIAL_LIMITS if reveal else None)
    operation = {"branch": branch.hash, "contents": trial.contents(), "signature": _NO_SIGNATURE}
    gas = [
        used + _GAS_RESERVE for used in await _try_out([view.node for view in views], operation, len(trial.contents()))
    ]
    if reveal:
        gas[0] = max(gas[0], _REVEAL_GAS)
    # Lengths change with the numbers themselves by a few bytes at most; the margin covers that.
    size = len(trial.forge(_raw(branch.hash))) + SIGNATURE_BYTES
    fee = math.ceil((_FEE_BASE * len(gas) + _FEE_PER_GAS * sum(gas) + _FEE_PER_BYTE * size) * _FEE_MARGIN)
    if fee > configuration.maximum_fee:
        raise RefusedError(
            f"the operation would cost {fee} millionths of a tez; at most {configuration.maximum_fee} are allowed"
        )
    # The first content pays for both: bakers look at the sum.
    if reveal:
        return _call(configuration, key, root, counter, Limits(fee=0, gas=gas[1]), Limits(fee=fee, gas=gas[0]))
    return _call(configuration, key, root, counter, Limits(fee=fee, gas=gas[0]), None)


def _call(  # noqa: PLR0913, PLR0917  # the parts of a call
    configuration: TezosConfiguration, key: PublicKey, root: bytes, counter: int, limits: Limits, reveal: Limits | None
) -> Call:
    return Call(key=key, contract=configuration.contract, value=root, counter=counter, limits=limits, reveal=reveal)


async def _try_out(nodes: Sequence[Node], operation: Mapping[str, object], contents: int) -> list[int]:
    """The gas that each content used when the first node that answers tried it out."""
    troubles: list[str] = []
    for node in nodes:
        try:
            return _consumed(await node.try_out(operation), contents)
        except NodeError as error:
            troubles.append(f"{node.name}: {error}")
    raise NotYetError(f"no node tried the operation out (has the account funds?); {'; '.join(troubles)}")


def _consumed(answer: dict[str, Any], contents: int) -> list[int]:
    try:
        results = [content["metadata"]["operation_result"] for content in answer["contents"]]
        failed = [result for result in results if result["status"] != "applied"]
        errors = [str(error["id"]) for result in failed for error in result.get("errors", [])]
        gas = [math.ceil(int(result.get("consumed_milligas", "0")) / 1000) for result in results]
    except (KeyError, TypeError, ValueError, AttributeError):
        raise NodeError("its answer is no result of an operation") from None
    if failed:
        known = ", ".join(error for error in errors if _ERROR_ID.fullmatch(error)) or "no reason given"
        raise RefusedError(f"the operation would fail: {known}")
    if len(gas) != contents or min(gas) < 0:
        raise NodeError("its answer is no result of this operation")
    return gas


def _raw(block_hash: str) -> bytes:
    raw = base58.decode(block_hash, base58.BLOCK_HASH, HASH_BYTES)
    if raw is None:
        raise NotYetError("a block has no hash")
    return raw
