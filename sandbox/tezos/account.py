"""The one funded account of every sandbox network. Its secret is public: it is worth nothing anywhere."""

import hashlib

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from verifier.tezos import base58
from verifier.tezos.keys import ED25519, PublicKey

_SEED = hashlib.sha256(b"the funded account of the sandbox").digest()
SECRET = base58.encode(bytes([13, 15, 58, 7]), _SEED)
PUBLIC_KEY = PublicKey(
    kind=ED25519,
    raw=Ed25519PrivateKey.from_private_bytes(_SEED).public_key().public_bytes(Encoding.Raw, PublicFormat.Raw),
)
ADDRESS = PUBLIC_KEY.address
