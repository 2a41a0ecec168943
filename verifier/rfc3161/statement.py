"""The authority's statement (TSTInfo, RFC 3161, 2.4.2) and the request it answers (TimeStampReq, 2.4.1)."""

import re
from dataclasses import dataclass
from datetime import datetime

from verifier.rfc3161 import codes, der
from verifier.rfc3161.algorithms import DIGEST_SIZES, HASH_OIDS, NotAllowedError, read_algorithm, read_hash
from verifier.rfc3161.codes import Broken
from verifier.rfc3161.extensions import read_extensions
from verifier.rfc3161.names import GeneralName, read_general_name
from verifier.rfc3161.response import Report

_QC_STATEMENTS = "1.3.6.1.5.5.7.1.3"
# The only extension of a statement that is understood; ETSI EN 319 422, 9.1 defines what it holds.
_QUALIFIED_TIME_STAMP = "0.4.0.19422.1.1"

MICROSECONDS = 1_000_000
MAX_SUBUNIT = 999
# RFC 3161 bounds seconds not at all; a day of uncertainty is already no time-stamp.
MAX_ACCURACY_SECONDS = 86_400
# Whoever adds an accuracy or a tolerance to a time must not fall off the calendar's end.
MAX_YEAR = 9000


@dataclass(frozen=True, slots=True)
class Imprint:
    """What was time-stamped: a digest and the name of its algorithm."""

    hash_name: str
    digest: bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class Statement:
    """A parsed TSTInfo; `accuracy_microseconds`, `nonce` and `tsa_name` are None when not given."""

    policy: str
    imprint: Imprint
    serial_number: int
    time: datetime
    accuracy_microseconds: int | None
    nonce: int | None
    tsa_name: GeneralName | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """A parsed TimeStampReq."""

    imprint: Imprint
    policy: str | None
    nonce: int | None
    wants_certificate: bool


def read_statement(content: bytes, report: Report) -> Statement:
    """Read the statement in the octets that were signed; raises Broken."""
    try:
        return _parse_statement(list(der.sequence(der.parse(content), "it")), report)
    except der.DerError as error:
        raise Broken(codes.STATEMENT_MALFORMED, f"The statement cannot be read: {error}.") from error


def _parse_statement(fields: list[der.Node], report: Report) -> Statement:
    _need(fields, 5)
    version = der.integer(fields.pop(0), "its version")
    if version != 1:
        raise Broken(codes.STATEMENT_VERSION, f"The statement has version {version}; only version 1 exists.")
    policy = der.oid(fields.pop(0), "its policy")
    imprint = _read_imprint(fields.pop(0))
    serial_number = der.integer(fields.pop(0), "its serial number")
    time = _read_time(fields.pop(0), report)
    accuracy = _read_accuracy(fields.pop(0), report) if _next_is(fields, der.SEQUENCE) else None
    if _next_is(fields, der.BOOLEAN):
        der.boolean(fields.pop(0), "its ordering")
    nonce = der.integer(fields.pop(0), "its nonce") if _next_is(fields, der.INTEGER) else None
    tsa_name = None
    if fields and fields[0].is_context(0):
        tsa_name = read_general_name(der.explicit(fields.pop(0), 0, "its authority"), "its authority")
    if fields and fields[0].is_context(1):
        _check_extensions(fields.pop(0), report)
    _end(fields)
    return Statement(
        policy=policy,
        imprint=imprint,
        serial_number=serial_number,
        time=time,
        accuracy_microseconds=accuracy,
        nonce=nonce,
        tsa_name=tsa_name,
    )


def read_request(data: bytes) -> Request:
    """Read a request as it was sent; raises Broken."""
    try:
        return _parse_request(list(der.sequence(der.parse(data), "it")))
    except (der.DerError, Broken) as error:
        raise Broken(codes.REQUEST_MALFORMED, f"The request cannot be read: {error}") from error


def _parse_request(fields: list[der.Node]) -> Request:
    _need(fields, 2)
    if der.integer(fields.pop(0), "its version") != 1:
        raise der.DerError("it is not of version 1")
    imprint = _read_imprint(fields.pop(0))
    policy = der.oid(fields.pop(0), "its policy") if _next_is(fields, der.OID) else None
    nonce = der.integer(fields.pop(0), "its nonce") if _next_is(fields, der.INTEGER) else None
    wants = der.boolean(fields.pop(0), "its certReq") if _next_is(fields, der.BOOLEAN) else False
    if fields and fields[0].is_context(0):
        fields.pop(0)
    _end(fields)
    return Request(imprint=imprint, policy=policy, nonce=nonce, wants_certificate=wants)


def check_imprint(statement: Statement, expected: Imprint, report: Report) -> None:
    """Whether the statement is about `expected`."""
    stated = statement.imprint
    if stated.hash_name != expected.hash_name:
        report(
            codes.IMPRINT_OTHER_ALGORITHM,
            f"The statement is about a {stated.hash_name} digest; a {expected.hash_name} digest was given.",
        )
    elif stated.digest != expected.digest:
        report(codes.IMPRINT_MISMATCH, "The statement is about other data: the digest in it is different.")


def check_answer(statement: Statement, request: Request, *, has_signer: bool, has_any: bool, report: Report) -> None:
    """Whether the statement answers `request`; the flags say which certificates the token encloses."""
    if statement.imprint != request.imprint:
        report(codes.REQUEST_IMPRINT, "The statement is about other data than what the request asked for.")
    if request.policy is not None and statement.policy != request.policy:
        report(codes.REQUEST_POLICY, f"Policy {request.policy} was asked for; the statement says {statement.policy}.")
    if request.nonce is None:
        if statement.nonce is not None:
            report(codes.NONCE_UNASKED, "The statement carries a nonce, although the request had none.")
    elif statement.nonce is None:
        report(codes.NONCE_MISSING, "The request had a nonce; the statement does not repeat it, so it may be a replay.")
    elif statement.nonce != request.nonce:
        report(codes.NONCE_MISMATCH, "The nonce is not that of the request: the statement answers another one.")
    if request.wants_certificate and not has_signer:
        report(codes.CERTIFICATE_NOT_INCLUDED, "The request asked for the signer's certificate; it is not enclosed.")
    if not request.wants_certificate and has_any:
        report(codes.CERTIFICATE_UNASKED, "The token encloses certificates, although the request did not ask for any.")


def _need(fields: list[der.Node], count: int) -> None:
    if len(fields) < count:
        raise der.DerError("it lacks a field")


def _end(fields: list[der.Node]) -> None:
    if fields:
        raise der.DerError("it has fields that do not belong there")


def _next_is(fields: list[der.Node], number: int) -> bool:
    return bool(fields) and fields[0].is_universal(number)


def _read_imprint(node: der.Node) -> Imprint:
    what = "its imprint"
    members = der.sequence(node, what)
    if len(members) != 2:  # noqa: PLR2004 - algorithm and digest
        raise der.DerError(f"{what} is malformed")
    algorithm = read_algorithm(members[0], what)
    digest = der.octets(members[1], what)
    try:
        name = read_hash(algorithm)
    except NotAllowedError as error:
        raise Broken(codes.IMPRINT_ALGORITHM, f"The imprint is not acceptable: {error}.") from error
    if name not in DIGEST_SIZES:
        raise Broken(codes.IMPRINT_ALGORITHM, f"An imprint made with {HASH_OIDS[algorithm.oid]} is not acceptable.")
    if len(digest) != DIGEST_SIZES[name]:
        raise Broken(codes.IMPRINT_LENGTH, f"A {name} imprint cannot have {len(digest)} bytes.")
    return Imprint(name, digest)


_REDUNDANT_FRACTION = re.compile(rb"\.\d*0Z")


def _read_time(node: der.Node, report: Report) -> datetime:
    try:
        time = der.generalized_time(node, "its time")
    except der.DerError as error:
        raise Broken(codes.TIME_MALFORMED, f"The time is not acceptable: {error}.") from error
    if time.year > MAX_YEAR:
        raise Broken(codes.TIME_MALFORMED, "The time is not acceptable: its year is absurd.")
    if _REDUNDANT_FRACTION.search(node.content):
        report(codes.TIME_NOT_CANONICAL, "The time is written with a superfluous zero at its end (RFC 3161, 2.4.2).")
    return time


def _read_accuracy(node: der.Node, report: Report) -> int:
    what = "its accuracy"
    members = list(node.children)
    seconds = der.integer(members.pop(0), what) if _next_is(members, der.INTEGER) else 0
    units = [0, 0]
    for tag in (0, 1):
        if members and members[0].is_context(tag) and not members[0].constructed:
            units[tag] = der.integer_content(members.pop(0).content, what)
            if not 0 <= units[tag] <= MAX_SUBUNIT:
                raise Broken(codes.ACCURACY_RANGE, "The accuracy has a fraction outside of 1 to 999.")
            if units[tag] == 0:
                report(codes.ACCURACY_ZERO, "The accuracy has a fraction of 0, which should have been left out.")
    if members:
        raise der.DerError(f"{what} is malformed")
    if not 0 <= seconds <= MAX_ACCURACY_SECONDS:
        raise Broken(codes.ACCURACY_RANGE, "The accuracy is negative or worse than a day.")
    return seconds * MICROSECONDS + units[0] * 1000 + units[1]


def _check_extensions(node: der.Node, report: Report) -> None:
    what = "its extensions"
    for oid, (critical, value) in read_extensions(der.retagged_sequence(node), what).items():
        if oid == _QC_STATEMENTS:
            if _claims_qualified(value):
                report(
                    codes.QUALIFIED_CLAIM,
                    "The authority states that this is a qualified time-stamp. That is its claim, not a proof.",
                )
        elif critical:
            report(codes.STATEMENT_EXTENSION, f"The statement has a critical extension that is not understood: {oid}.")


def _claims_qualified(value: bytes) -> bool:
    try:
        statements = [der.sequence(item, "a statement") for item in der.sequence(der.parse(value), "the statements")]
        return any(parts and der.oid(parts[0], "a statement") == _QUALIFIED_TIME_STAMP for parts in statements)
    except der.DerError:
        return False
