"""What is written: canonical payloads of about 200 bytes, each different."""

import hashlib


def payload(number: int) -> bytes:
    """A canonical JSON object of 200 bytes."""
    filler = hashlib.sha256(b"%d" % number).hexdigest() + hashlib.md5(b"%d" % number).hexdigest()
    head = b'{"actor":"user-%08d","at":"2026-11-22T08:00:00Z","note":"' % number
    return head + filler.encode() + b"." * (198 - len(head) - len(filler)) + b'"}'


KIND = "session.note_added"
