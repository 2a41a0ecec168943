"""The outermost layer: a TimeStampResp (RFC 3161, 2.4.2), or a bare TimeStampToken as some authorities send."""

from collections.abc import Callable

from verifier.rfc3161 import codes, der
from verifier.rfc3161.codes import Broken, Rule
from verifier.rfc3161.names import printable

Report = Callable[[Rule, str], None]

GRANTED, GRANTED_WITH_MODS = 0, 1

_STATUS_TEXTS = {
    2: "it rejected the request",
    3: "it is still waiting",
    4: "it warns that a revocation is imminent",
    5: "it notifies that a revocation has occurred",
}
# RFC 3161, 2.4.2: PKIFailureInfo, by bit number.
_FAILURES = {
    0: "unrecognised or unsupported algorithm",
    2: "transaction not permitted or supported",
    5: "data in the wrong format",
    14: "its time source is not available",
    15: "policy not supported",
    16: "extension not supported",
    17: "additional information not understood or not available",
    25: "system failure",
}


def read_response(data: bytes, *, allow_granted_with_mods: bool, report: Report) -> der.Node:
    """The TimeStampToken in `data`; raises Broken when there is none to judge."""
    if len(data) > der.MAX_TOKEN_SIZE:
        raise Broken(codes.TOO_LARGE, f"The token has {len(data)} bytes; at most {der.MAX_TOKEN_SIZE} are accepted.")
    try:
        outer = der.parse(data)
        members = _members(outer)
        if members[0].is_universal(der.OID):
            return outer
        status, reason = _read_status(members[0])
    except der.DerError as error:
        raise Broken(codes.MALFORMED, f"The file is not a readable time-stamp: {error}.") from error
    token = members[1] if len(members) == 2 else None  # noqa: PLR2004 - status and token
    if status not in {GRANTED, GRANTED_WITH_MODS}:
        if token is not None:
            report(codes.TOKEN_UNEXPECTED, "The authority refused and yet sent a token.")
        raise Broken(codes.NOT_GRANTED, f"The authority did not grant a time-stamp: {reason}.")
    if token is None:
        raise Broken(codes.TOKEN_MISSING, "The authority says that it granted a time-stamp, but sent none.")
    if status == GRANTED_WITH_MODS:
        rule = codes.GRANTED_WITH_MODS_ALLOWED if allow_granted_with_mods else codes.GRANTED_WITH_MODS
        report(rule, "The authority granted the time-stamp with modifications to what was asked.")
    return token


def _members(outer: der.Node) -> tuple[der.Node, ...]:
    members = der.sequence(outer, "the token")
    if len(members) not in {1, 2}:
        raise der.DerError("it is neither a time-stamp response nor a time-stamp token")
    return members


def _read_status(node: der.Node) -> tuple[int, str]:
    what = "the response's status"
    members = list(der.sequence(node, what))
    if not members:
        raise der.DerError(f"{what} is empty")
    status = der.integer(members.pop(0), what)
    reasons = [_STATUS_TEXTS.get(status, f"its status is {status}, which RFC 3161 does not define")]
    if members and members[0].is_universal(der.SEQUENCE):
        # PKIFreeText; shown, never interpreted.
        texts = [der.text(item, what) for item in members.pop(0).children]
        reasons += [f'it says "{printable(text)}"' for text in texts]
    if members and members[0].is_universal(der.BIT_STRING):
        bits = der.named_bits(members.pop(0), what)
        reasons += [_FAILURES.get(bit, f"failure number {bit}") for bit in sorted(bits)]
    if members:
        raise der.DerError(f"{what} has fields that do not belong there")
    return status, "; ".join(reasons)
