"""The Tezos backend: many heads under one root, one operation at a time, watched until it is final.

`anchor` notes its head, takes the authority's one batch a step further, and answers with where the head stands. There
is no background task: whoever asks drives. A step may be taken by any number of processes at once, die anywhere, and
be taken again; the journal's rules see to that. The durable boundaries, and what recovery does behind each:

1. head noted               the head is still in the queue; the next step finds it
2. batch formed             the root is fixed; the next step signs an operation for it
3. attempt signed, stored   the next step injects the stored bytes; it never signs while they may still be included
4. injected                 the next step finds the operation in the chain or injects the same bytes again
5. receipt stored           every head of the batch is answered from it, without any node
6. anchor stored (worker)   the job is gone
"""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta

import httpx
import structlog

from ledger.anchoring.aggregation import HeadTree
from ledger.anchoring.port import InProgress, Obtained, RefusedError, UnavailableError
from ledger.anchoring.rfc3161.transport import open_evidence_client
from ledger.anchoring.tezos import watch
from ledger.anchoring.tezos.chain import View, look_at_chains, look_at_heads
from ledger.anchoring.tezos.configuration import LocalKey, TezosConfiguration
from ledger.anchoring.tezos.journal import Batch, Journal, Place
from ledger.anchoring.tezos.keys import LocalSigner, RemoteSigner, Signer
from ledger.anchoring.tezos.node import NODE_SECONDS, BlockCache, Node, NodeError
from ledger.anchoring.tezos.receipt import block_time, make_receipt, receipt_of_head
from ledger.anchoring.tezos.sending import AGREEING_NODES, NotYetError, agreed, sign_attempt
from ledger.anchoring.tezos.watch import Sent, Sighting
from ledger.database.connections import make_pool
from ledger.errors import LedgerError
from ledger.store.values import AnchorTarget
from verifier.tezos.nodes import parse_node

STEP_SECONDS = 75.0  # for one step, when every node but two takes all its time; what was fetched is kept
CONCURRENCY = 64  # calls at once; all but one only look at the journal
POOL_CONNECTIONS = 4
BATCHES_KEPT = 4  # in memory, with their trees, to answer their heads

_log = structlog.get_logger()


@contextlib.asynccontextmanager
async def open_tezos(
    configuration: TezosConfiguration, worker_dsn: str, tls: ssl.SSLContext
) -> AsyncIterator["TezosBackend"]:
    """The backend with its connections to nodes, signer and database, until the context ends. Raises ValueError."""
    async with contextlib.AsyncExitStack() as stack:
        client = await stack.enter_async_context(open_evidence_client(NODE_SECONDS, tls))
        pool = make_pool(worker_dsn, f"tezos-{configuration.name}", size=POOL_CONNECTIONS, check=True)
        stack.push_async_callback(pool.close)
        await pool.open()
        yield TezosBackend(
            configuration,
            journal=Journal(pool, configuration.name),
            signer=make_signer(configuration, client),
            client=client,
        )


def make_signer(configuration: TezosConfiguration, client: httpx.AsyncClient) -> Signer:
    """The signer that the configuration names. Raises ValueError when a secret key is not one."""
    key = configuration.key
    if isinstance(key, LocalKey):
        return LocalSigner(key.secret)
    authentication = LocalSigner(key.authentication) if key.authentication else None
    return RemoteSigner(client, key.url, key.address, authentication)


class TezosBackend:
    """One Tezos authority; see the module's text and `ledger.anchoring.port.AnchorBackend`."""

    def __init__(
        self, configuration: TezosConfiguration, *, journal: Journal, signer: Signer, client: httpx.AsyncClient
    ) -> None:
        self._configuration = configuration
        self._journal = journal
        self._signer = signer
        self._cache = BlockCache()
        self._nodes = [
            Node(client, parse_node(url).name, url, configuration.chain_id, self._cache) for url in configuration.nodes
        ]
        self._stepping = asyncio.Lock()
        self._next_step = 0.0
        self._progress = "waiting for others to share an operation with"
        self._refusal: RefusedError | None = None
        self._injected: set[tuple[str, str, str]] = set()
        self._answers: dict[int, tuple[Batch, bytes, HeadTree | None]] = {}

    @property
    def target(self) -> AnchorTarget:
        """Kind and configured name."""
        return self._configuration.target

    @property
    def concurrency(self) -> int:
        """Calls at once."""
        return CONCURRENCY

    @property
    def min_interval_seconds(self) -> float:
        """No pause between calls: most of them ask no node."""
        return 0.0

    @property
    def attempt_seconds(self) -> float:
        """A step, and the database's own time."""
        return STEP_SECONDS + 15.0

    async def anchor(self, digest: bytes, state: Mapping[str, object] | None) -> Obtained | InProgress:  # noqa: ARG002  # what a head needs is in the journal, found by the head itself
        """Get the head into an operation, or its receipt. Raises RefusedError or UnavailableError."""
        try:
            place = await self._journal.enqueue(digest)
            answer = await self._answer(place, digest)
            if answer is not None:
                return answer
            await self._step_if_due()
            answer = await self._answer(await self._journal.enqueue(digest), digest)
        except LedgerError as error:
            raise UnavailableError(error.message) from error
        if answer is not None:
            return answer
        if self._refusal is not None:
            raise self._refusal
        again_at = datetime.now(tz=UTC) + timedelta(seconds=self._configuration.poll_seconds)
        return InProgress(state={"progress": self._progress}, again_at=again_at)

    async def _answer(self, place: Place, digest: bytes) -> Obtained | None:
        """The receipt for a head whose batch has one."""
        if place.batch_id is None or place.leaf_index is None:
            return None
        kept = self._answers.get(place.batch_id)
        if kept is None:
            batch = await self._journal.batch(place.batch_id)
            if batch.receipt is None:
                return None
            tree = HeadTree(await self._journal.heads(batch.batch_id)) if batch.tree_size > 1 else None
            kept = (batch, await self._operation_of(batch), tree)
            while len(self._answers) >= BATCHES_KEPT:
                del self._answers[next(iter(self._answers))]
            self._answers[batch.batch_id] = kept
        batch, operation, tree = kept
        if batch.receipt is None or batch.anchored_at is None:
            return None
        response = receipt_of_head(batch.receipt, digest, index=place.leaf_index, tree=tree)
        return Obtained(request=operation, response=response, anchored_at=batch.anchored_at)

    async def _operation_of(self, batch: Batch) -> bytes:
        """The operation that the batch's receipt shows; several may have been signed for it."""
        for attempt in await self._journal.attempts(batch.batch_id):
            if batch.receipt is not None and attempt.operation.hex() in batch.receipt:
                return attempt.operation
        raise LookupError(f"the receipt of batch {batch.batch_id} shows none of its operations")

    async def _step_if_due(self) -> None:
        """One step at a time, and none before the last one is `poll_seconds` ago: many heads wait for the same."""
        clock = asyncio.get_running_loop()
        if self._stepping.locked() or clock.time() < self._next_step:
            return
        async with self._stepping:
            try:
                async with asyncio.timeout(STEP_SECONDS):
                    await self._step()
                self._refusal = None
            except NotYetError as error:
                self._note(str(error))
            except TimeoutError:
                self._note("the nodes were too slow; going on")
            except UnavailableError as error:
                self._note(str(error))
            except RefusedError as error:
                self._refusal = error
            finally:
                self._next_step = clock.time() + self._configuration.poll_seconds

    async def _step(self) -> None:
        batch = await self._journal.open_batch(
            maximum_wait=timedelta(seconds=self._configuration.maximum_wait_seconds),
            maximum_heads=self._configuration.maximum_heads,
        )
        if batch is None:
            return
        attempts = [Sent.read(attempt) for attempt in await self._journal.attempts(batch.batch_id)]
        if not attempts:
            look = await look_at_heads(self._nodes)
            if len(look.views) < AGREEING_NODES:
                raise NotYetError(f"fewer than {AGREEING_NODES} nodes can be asked; {'; '.join(look.troubles)}")
            await self._sign(batch, look.views, 1)
            return
        await self._require_own(attempts)
        await self._follow(batch, attempts)

    async def _require_own(self, attempts: Sequence[Sent]) -> None:
        """The account and contract of an authority may not change while an operation of theirs is under way."""
        key = await self._signer.public_key()
        for sent in attempts:
            call = sent.operation.contents[-1]
            if call is None or (call.source, call.destination) != (key.address, self._configuration.contract):
                raise RefusedError(
                    "an operation of another account or contract is under way for this authority: configure those "
                    "again, and the new ones as another authority"
                )

    async def _sign(self, batch: Batch, views: Sequence[View], number: int) -> None:
        attempt = await sign_attempt(self._configuration, self._signer, views, root=batch.root, number=number)
        # Durability boundary: from here on the operation may be known outside. If this process dies before the
        # commit nobody has the bytes; after it, whoever comes next injects exactly these.
        await self._journal.add_attempt(batch.batch_id, attempt)
        stored = (await self._journal.attempts(batch.batch_id))[-1]
        sent = Sent.read(stored)
        _log.info("tezos_operation_signed", operation=sent.hash, counter=stored.counter, heads=batch.tree_size)
        await self._inject(sent, views)
        self._note(f"operation {sent.hash} was sent")

    async def _follow(self, batch: Batch, attempts: Sequence[Sent]) -> None:
        """Find out what became of the attempts: store the receipt, send again, or sign anew."""
        configuration = self._configuration
        floor = min(sent.attempt.branch_level for sent in attempts)
        last = max(sent.attempt.branch_level for sent in attempts) + configuration.operation_ttl_blocks
        self._cache.forget_below(floor)
        look = await look_at_chains(self._nodes, floor=floor, ceiling=last + configuration.confirmations)
        sighting = watch.find_best(attempts, look.views)
        if sighting is not None:
            views = watch.final_views(sighting, look.views, configuration.confirmations)
            if views:
                await self._finish(batch, sighting, views)
                return
        newest = attempts[-1]
        self._note(_describe(newest, sighting, look.troubles))
        missing = [view for view in watch.whole_views(look.views) if not any(view.find(sent.hash) for sent in attempts)]
        if sighting is None and await self._is_lost(newest, missing):
            _log.warning("tezos_operation_lost", operation=newest.hash, counter=newest.attempt.counter)
            await self._sign(batch, missing, newest.attempt.number + 1)
            return
        await self._inject(newest, missing)

    async def _is_lost(self, newest: Sent, views: Sequence[View]) -> bool:
        if len(views) < AGREEING_NODES:
            return False
        address = (await self._signer.public_key()).address
        counters: list[int] = []
        for view in views:
            block = view.blocks.get(view.head.level - self._configuration.confirmations)
            if block is not None:
                with contextlib.suppress(NodeError):
                    counters.append(await view.node.counter(block.hash, address))
        if not watch.is_lost(newest, views, self._configuration, counters=counters):
            return False
        # The account's counter must not be in motion, or the next attempt would compete with what uses it now.
        now = await agreed(views, lambda view: view.node.counter(view.head.hash, address), "the account's counter")
        return not counters or now == min(counters)

    async def _inject(self, sent: Sent, views: Sequence[View]) -> None:
        """Send the stored bytes to every node that lacks them, once for each head that it shows."""
        await asyncio.gather(*(self._inject_at(sent, view) for view in views))

    async def _inject_at(self, sent: Sent, view: View) -> None:
        place = (sent.hash, view.node.name, view.head.hash)
        if place in self._injected:
            return
        try:
            await view.node.inject(sent.attempt.operation)
        except NodeError as error:
            # Often only because the node has it already. The chain will show; that is all that counts.
            _log.info("tezos_operation_not_taken", node=view.node.name, operation=sent.hash, reason=str(error))
        else:
            self._injected.add(place)

    async def _finish(self, batch: Batch, sighting: Sighting, views: Sequence[View]) -> None:
        receipt = make_receipt(
            self._configuration,
            operation=sighting.sent.attempt.operation,
            parsed=sighting.sent.operation,
            key=await self._signer.public_key(),
            root=batch.root,
            block=sighting.block,
            passes=self._cache.operations[sighting.block.hash],
            views=views,
        )
        if batch.tree_size == 1:
            receipt_of_head(receipt, batch.root, index=0, tree=None)
        # Durability boundary: until this commit the next step finds the same block again, or, if the nodes forgot
        # it by then, only they could help. After it no node is needed any more.
        await self._journal.finish(batch.batch_id, receipt, block_time(sighting.block))
        self._injected.clear()
        self._note("waiting for others to share an operation with")
        _log.info(
            "tezos_operation_final", operation=sighting.sent.hash, level=sighting.block.level, heads=batch.tree_size
        )

    def _note(self, progress: str) -> None:
        self._progress = progress
        self._refusal = None


def _describe(newest: Sent, sighting: Sighting | None, troubles: Sequence[str]) -> str:
    if sighting is None:
        text = f"operation {newest.hash} was sent and is in no block yet"
    else:
        text = (
            f"operation {sighting.sent.hash} is in block {sighting.block.level}, {sighting.depth} blocks deep, as "
            f"{len(sighting.views)} node(s) say"
        )
    return f"{text}; {'; '.join(troubles)}" if troubles else text
