"""The backend for Tezos: heads under one root, sent to a contract that emits it, followed until it is final."""

from ledger.anchoring.tezos.backend import TezosBackend, open_tezos
from ledger.anchoring.tezos.configuration import BACKEND, LocalKey, RemoteKey, TezosConfiguration

__all__ = ["BACKEND", "LocalKey", "RemoteKey", "TezosBackend", "TezosConfiguration", "open_tezos"]
