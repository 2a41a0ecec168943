"""RTP (RFC 3550) as cameras send it: H.264 (RFC 6184) and H.265 (RFC 7798) in whole units or fragments, and G.711.

RTCP sender reports tie each stream's timestamps to the camera's wall clock.
"""

import struct
from collections.abc import Iterator

MAX_PAYLOAD_BYTES = 1400  # fits the Ethernet frames that cameras are used to
H264, H265 = "H264", "H265"
VIDEO_PAYLOAD_TYPE = 96
PCMU_PAYLOAD_TYPE = 0  # RFC 3551
VIDEO_RATE = 90_000
PCMU_RATE = 8_000

_VERSION = 2 << 6
_MARKER = 1 << 7
_SENDER_REPORT = 200
_SOURCE_DESCRIPTION = 202
_FU_A, _FU_H265 = 28, 49
_FU_START, _FU_END = 1 << 7, 1 << 6
_NAL_TYPE_MASK, _NAL_IMPORTANCE_MASK = 0x1F, 0xE0
_H265_TYPE_MASK, _H265_REST_MASK = 0x7E, 0x81
_PARAMETER_SETS = {H264: {7, 8}, H265: {32, 33, 34}}
_SECONDS_1900_TO_1970 = 2_208_988_800
_MICROSECONDS = 1_000_000


class RtpStream:
    """One stream's packets: counts them, and knows its timestamps."""

    def __init__(self, *, ssrc: int, payload_type: int, rate: int, first_timestamp: int) -> None:
        self._ssrc = ssrc
        self._payload_type = payload_type
        self._rate = rate
        self._first_timestamp = first_timestamp
        self._sequence = 0
        self._packets = 0
        self._octets = 0

    def timestamp(self, elapsed: int) -> int:
        """The RTP timestamp `elapsed` microseconds after the stream's beginning."""
        return (self._first_timestamp + elapsed * self._rate // _MICROSECONDS) & 0xFFFFFFFF

    def packet(self, payload: bytes, elapsed: int, *, marker: bool) -> bytes:
        """One packet with the next sequence number."""
        self._sequence = (self._sequence + 1) & 0xFFFF
        self._packets += 1
        self._octets += len(payload)
        kind = self._payload_type | (_MARKER if marker else 0)
        return struct.pack("!BBHII", _VERSION, kind, self._sequence, self.timestamp(elapsed), self._ssrc) + payload

    def video_packets(self, codec: str, access_unit: bytes, elapsed: int) -> Iterator[bytes]:
        """The packets of one picture, given in Annex B."""
        units = split_annex_b(access_unit)
        for number, unit in enumerate(units):
            last_unit = number == len(units) - 1
            payloads = list(_video_payloads(codec, unit))
            for place, payload in enumerate(payloads):
                yield self.packet(payload, elapsed, marker=last_unit and place == len(payloads) - 1)

    def sender_report(self, elapsed: int, wall_clock: int) -> bytes:
        """The compound RTCP packet that says: what was taken at `elapsed` was taken at `wall_clock` (both µs)."""
        seconds, rest = divmod(wall_clock, _MICROSECONDS)
        report = struct.pack(
            "!BBHIIIIII",
            _VERSION,
            _SENDER_REPORT,
            6,  # length in words, less one
            self._ssrc,
            (seconds + _SECONDS_1900_TO_1970) & 0xFFFFFFFF,
            (rest << 32) // _MICROSECONDS,
            self.timestamp(elapsed),
            self._packets & 0xFFFFFFFF,
            self._octets & 0xFFFFFFFF,
        )
        name = b"\x01\x06camera"  # CNAME, length, text
        chunk = struct.pack("!I", self._ssrc) + name + bytes(4 - len(name) % 4)
        description = struct.pack("!BBH", _VERSION | 1, _SOURCE_DESCRIPTION, len(chunk) // 4) + chunk
        return report + description


def split_annex_b(access_unit: bytes) -> list[bytes]:
    """The NAL units of a picture, without their start codes."""
    units = access_unit.replace(b"\x00\x00\x00\x01", b"\x00\x00\x01").split(b"\x00\x00\x01")
    return [unit for unit in units if unit]


def is_parameter_set(codec: str, unit: bytes) -> bool:
    """Whether the NAL unit tells how to decode others."""
    return _unit_type(codec, unit) in _PARAMETER_SETS[codec]


def _unit_type(codec: str, unit: bytes) -> int:
    return unit[0] & _NAL_TYPE_MASK if codec == H264 else (unit[0] & _H265_TYPE_MASK) >> 1


def _video_payloads(codec: str, unit: bytes) -> Iterator[bytes]:
    if len(unit) <= MAX_PAYLOAD_BYTES:
        yield unit
        return
    if codec == H264:
        indicator, body = bytes([unit[0] & _NAL_IMPORTANCE_MASK | _FU_A]), unit[1:]
    else:
        indicator, body = bytes([unit[0] & _H265_REST_MASK | _FU_H265 << 1, unit[1]]), unit[2:]
    room = MAX_PAYLOAD_BYTES - len(indicator) - 1
    for start in range(0, len(body), room):
        header = _unit_type(codec, unit)
        header |= _FU_START if start == 0 else 0
        header |= _FU_END if start + room >= len(body) else 0
        yield indicator + bytes([header]) + body[start : start + room]
