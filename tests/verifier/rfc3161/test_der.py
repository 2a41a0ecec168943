"""The DER reader takes exactly one encoding of every value, and says no to everything else."""

from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from tests.verifier.rfc3161 import token_forge as forge
from verifier.rfc3161 import der


@pytest.mark.parametrize(
    ("encoded", "reason"),
    [
        (b"", "ends in the middle"),
        (b"\x02", "ends in the middle"),
        (b"\x02\x01", "longer than what contains it"),
        (b"\x02\x01\x00\x00", "1 bytes follow"),
        (b"\x1f\x81\x01\x00", "tag number above 30"),
        (b"\x00\x00", "end-of-contents"),
        (b"\x22\x03\x02\x01\x00", "constructed where DER wants it primitive"),
        (b"\x10\x00", "constructed where DER wants it primitive"),
        (b"\x30\x80\x00\x00", "indefinite length"),
        (b"\x04\x81\x01\x00", "shortest form"),
        (b"\x04\x82\x00\x80" + b"x" * 128, "shortest form"),
        (b"\x04\x85\x00\x00\x00\x00\x00", "absurd"),
        (b"\x04\x82\x01", "absurd"),
        (b"\x30\x03\x04\x02\x00", "longer than what contains it"),
        (b"\x30\x01\x04", "ends in the middle"),
    ],
)
def test_what_is_not_der_is_refused_with_its_reason(encoded: bytes, reason: str) -> None:
    with pytest.raises(der.DerError, match=reason):
        der.parse(encoded)


def test_depth_is_limited_before_it_can_hurt() -> None:
    nested = forge.NULL
    for _ in range(der.MAX_DEPTH - 1):
        nested = forge.seq(nested)
    der.parse(nested)
    with pytest.raises(der.DerError, match="nested more than"):
        der.parse(forge.seq(nested))


def test_size_is_limited_before_anything_is_read() -> None:
    with pytest.raises(der.DerError, match="at most 10"):
        der.parse(b"\x00" * 11, max_size=10)


@pytest.mark.parametrize("value", [0, 1, -1, 127, 128, -128, -129, 255, 256, 2**64, -(2**64), 2**510])
def test_integers_keep_their_value(value: int) -> None:
    assert der.integer(der.parse(forge.integer(value)), "it") == value


def test_integers_are_limited_in_length() -> None:
    node = der.parse(forge.integer(2**512))
    assert der.integer(node, "it", max_size=65) == 2**512
    with pytest.raises(der.DerError, match="65 octets"):
        der.integer(node, "it")


@pytest.mark.parametrize(
    ("read", "encoded"),
    [
        (der.integer, b"\x02\x00"),
        (der.integer, b"\x02\x02\x00\x7f"),
        (der.integer, b"\x02\x02\xff\x80"),
        (der.integer, b"\x04\x01\x00"),
        (der.enumerated, b"\x02\x01\x00"),
        (der.boolean, b"\x01\x01\x01"),
        (der.boolean, b"\x01\x02\xff\xff"),
        (der.boolean, b"\x01\x00"),
        (der.bit_string, b"\x03\x00"),
        (der.bit_string, b"\x03\x02\x01\x80"),
        (der.named_bits, b"\x03\x00"),
        (der.named_bits, b"\x03\x01\x01"),
        (der.named_bits, b"\x03\x02\x08\x00"),
        (der.named_bits, b"\x03\x02\x07\xc0"),
        (der.oid, b"\x06\x00"),
        (der.oid, b"\x06\x01\x80"),
        (der.oid, b"\x06\x02\x2a\x80"),
        (der.oid, b"\x06\x03\x2a\x80\x01"),
        (der.oid, b"\x06\x15\x2a" + b"\xff" * 19 + b"\x7f"),
        (der.oid, b"\x06\x41" + b"\x2a" * 65),
        (der.text, b"\x0c\x01\xff"),
        (der.text, b"\x13\x01a"),
        (der.sequence, b"\x31\x00"),
        (der.set_of, b"\x30\x00"),
        (der.octets, b"\x80\x00"),
        (der.certificate_time, b"\x17\x0b2406011200Z"),
        (der.certificate_time, b"\x17\x11240601120000+0000"),
        (der.certificate_time, b"\x18\x1120240601120000.5Z"),
        (der.generalized_time, b"\x17\x0d240601120000Z"),
    ],
)
def test_a_value_that_is_not_in_its_one_form_is_refused(
    read: Callable[[der.Node, str], object], encoded: bytes
) -> None:
    with pytest.raises(der.DerError):
        read(der.parse(encoded), "it")


@pytest.mark.parametrize(
    "dotted", ["0.0", "0.39", "1.2.840.113549.1.7.2", "2.5.29.37", "2.999.1", "1.39.128", f"2.25.{2**127}"]
)
def test_object_identifiers_keep_their_value(dotted: str) -> None:
    assert der.oid(der.parse(forge.oid(dotted)), "it") == dotted


@pytest.mark.parametrize(
    ("digits", "year"),
    [(b"491231235959Z", 2049), (b"500101000000Z", 1950), (b"000101000000Z", 2000), (b"991231235959Z", 1999)],
)
def test_a_year_of_two_digits_lies_between_1950_and_2049(digits: bytes, year: int) -> None:
    assert der.certificate_time(der.parse(forge.tlv(23, digits)), "it").year == year


def test_a_time_is_read_digit_by_digit() -> None:
    node = der.parse(forge.generalized("20240229235959.000009Z"))
    assert der.generalized_time(node, "it") == datetime(2024, 2, 29, 23, 59, 59, 9, tzinfo=UTC)


def test_an_explicit_tag_must_be_the_one_expected() -> None:
    node = der.parse(forge.context(1, forge.NULL))
    assert der.explicit(node, 1, "it").is_universal(der.NULL)
    for wrong_one in (node, der.parse(forge.context(0)), der.parse(forge.seq(forge.NULL))):
        with pytest.raises(der.DerError):
            der.explicit(wrong_one, 0, "it")
