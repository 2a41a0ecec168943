"""What the operator configures for one Tezos authority, as values that were already checked.

The contract, the network and the signing account of an authority never change: its notes and receipts speak of them.
For another contract, network or account, configure another authority.
"""

from dataclasses import dataclass, field

from ledger.store.values import AnchorTarget

BACKEND = "tezos"

DEFAULT_CONFIRMATIONS = 10  # Tenderbake makes a block final after two; the rest is for nodes that are cut off
DEFAULT_MAXIMUM_WAIT_SECONDS = 60.0
DEFAULT_MAXIMUM_HEADS = 100_000
DEFAULT_POLL_SECONDS = 6.0  # one block
DEFAULT_MAXIMUM_FEE = 10_000  # millionths of a tez; a call costs about a tenth of this
OPERATION_TTL_BLOCKS = 600  # within as many blocks after its branch the protocol still includes an operation


@dataclass(frozen=True, kw_only=True, slots=True)
class LocalKey:
    """A secret key, as text. It does not show when the value is printed or logged."""

    secret: str = field(repr=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class RemoteKey:
    """An account whose key a remote signer at `url` keeps.

    `authentication` is the secret of the key by which the signer knows us, as text; empty where it asks for none.
    """

    url: str
    address: str
    authentication: str = field(default="", repr=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class TezosConfiguration:
    """One authority. `nodes` are the addresses of at least two nodes, which differ in host or port.

    Waiting heads are put under one root when the oldest has waited `maximum_wait_seconds`, or when there are
    `maximum_heads`. `confirmations` is the number of blocks on top of the operation's. `maximum_fee` bounds, in
    millionths of a tez, what one operation may cost whatever nodes say.
    """

    name: str
    chain_id: str
    contract: str
    nodes: tuple[str, ...]
    key: LocalKey | RemoteKey
    confirmations: int = DEFAULT_CONFIRMATIONS
    maximum_wait_seconds: float = DEFAULT_MAXIMUM_WAIT_SECONDS
    maximum_heads: int = DEFAULT_MAXIMUM_HEADS
    maximum_fee: int = DEFAULT_MAXIMUM_FEE
    poll_seconds: float = DEFAULT_POLL_SECONDS
    operation_ttl_blocks: int = OPERATION_TTL_BLOCKS

    @property
    def target(self) -> AnchorTarget:
        """How anchor jobs name this authority."""
        return AnchorTarget(backend=BACKEND, authority=self.name)
