"""A Tezos network on one machine: real hashes, the real contract in pytezos's interpreter, troubles on command."""

from sandbox.tezos.faults import NodeFaults
from sandbox.tezos.running import DEFAULT_TTL, TezosError, TezosMissingError, TezosSandbox, start_tezos

__all__ = ["DEFAULT_TTL", "NodeFaults", "TezosError", "TezosMissingError", "TezosSandbox", "start_tezos"]
