"""The TimeStampReq for a digest (RFC 3161 section 2.4.1)."""

import secrets

DIGEST_BYTES = 32
_NONCE_BITS = 64


def build_request(digest: bytes) -> bytes:
    """A request, DER, for a time-stamp over `digest` (32 bytes, SHA-256), with certReq set and a fresh nonce.

    The digest is passed as such: the library's `data` parameter hashes with another algorithm than the one it names.
    Raises ValueError when the digest has another length.
    """
    if len(digest) != DIGEST_BYTES:
        raise ValueError(f"a checkpoint's hash has {DIGEST_BYTES} bytes, this one has {len(digest)}")
    import rfc3161ng  # noqa: PLC0415 - it brings an HTTP client of its own, which a service should not wait for to start

    # 64 bits, as openssl sends: enough never to meet twice, and some servers refuse longer ones.
    nonce = secrets.randbits(_NONCE_BITS)
    request = rfc3161ng.make_timestamp_request(
        digest=digest, hashname="sha256", include_tsa_certificate=True, nonce=nonce
    )
    encoded: bytes = rfc3161ng.encode_timestamp_request(request)
    return encoded
