"""Parameter sets of H.264 and H.265: what a decoder must know before the first picture.

They stand beside the stream (`avcC` of ISO/IEC 14496-15, 5.3.3; `hvcC`, 8.3.3; or Annex B) and may be repeated or
changed inside it. A file in which they change must not be copied into one track that has only the first ones.
"""

from typing import Final

# nal_unit_type: SPS, PPS (ITU-T H.264, table 7-1); VPS, SPS, PPS (ITU-T H.265, table 7-1).
_H264_TYPES: Final = frozenset({7, 8})
_H265_TYPES: Final = frozenset({32, 33, 34})
_START_CODE: Final = b"\x00\x00\x00\x01"
# Positions inside the two records.
_AVCC_LENGTH, _AVCC_COUNT = 4, 5
_HVCC_LENGTH, _HVCC_ARRAYS = 21, 22

ParameterSets = frozenset[bytes]


def has_parameter_sets(codec: str) -> bool:
    """Whether streams of this codec carry parameter sets in units of their own."""
    return codec in {"h264", "hevc"}


def length_size(codec: str, extradata: bytes | None) -> int | None:
    """How many bytes tell the length of each unit in a packet; None when start codes separate them (Annex B)."""
    if not extradata or extradata[0] != 1:
        return None
    position = _AVCC_LENGTH if codec == "h264" else _HVCC_LENGTH
    return (extradata[position] & 3) + 1 if len(extradata) > position else None


def beside(codec: str, extradata: bytes | None) -> ParameterSets:
    """The parameter sets that stand beside the stream. A damaged record yields those that can be read."""
    if not extradata:
        return frozenset()
    if length_size(codec, extradata) is None:
        return _chosen(codec, _annex_b(extradata))
    return _chosen(codec, _avcc(extradata) if codec == "h264" else _hvcc(extradata))


def inside(codec: str, packet: bytes, unit_length: int | None) -> ParameterSets:
    """The parameter sets in a packet."""
    return _chosen(codec, units(packet, unit_length))


def units(packet: bytes, unit_length: int | None) -> list[bytes]:
    """The units of a packet, without start codes or lengths; up to the first that runs over the end."""
    return _annex_b(packet) if unit_length is None else _prefixed(packet, unit_length)


def annex_b(parts: list[bytes] | ParameterSets) -> bytes:
    """Units behind start codes; parameter sets in the order a decoder needs them."""
    ordered = parts if isinstance(parts, list) else sorted(parts, key=_order)
    return b"".join(_START_CODE + part for part in ordered)


def _order(unit: bytes) -> tuple[int, bytes]:
    # VPS, SPS, PPS: the types rise in both codecs, and so do the first bytes.
    return unit[0], unit


def _chosen(codec: str, candidates: list[bytes]) -> ParameterSets:
    if codec == "h264":
        return frozenset(unit for unit in candidates if unit and unit[0] & 0x1F in _H264_TYPES)
    return frozenset(unit for unit in candidates if unit and unit[0] >> 1 & 0x3F in _H265_TYPES)


def _annex_b(data: bytes) -> list[bytes]:
    # The zero that makes a start code four bytes long, and trailing zeros, belong to no unit (H.264, B.1).
    return [stripped for part in data.split(b"\x00\x00\x01")[1:] if (stripped := part.rstrip(b"\x00"))]


def _prefixed(data: bytes, unit_length: int) -> list[bytes]:
    found, position = [], 0
    while position + unit_length <= len(data):
        end = position + unit_length + int.from_bytes(data[position : position + unit_length])
        if end > len(data):
            break
        found.append(data[position + unit_length : end])
        position = end
    return found


def _avcc(record: bytes) -> list[bytes]:
    found: list[bytes] = []
    position = _AVCC_COUNT
    for mask in (0x1F, 0xFF):  # the number of SPS has five bits, that of PPS eight
        if position >= len(record):
            break
        count, position = record[position] & mask, position + 1
        for _ in range(count):
            size = int.from_bytes(record[position : position + 2])
            found.append(record[position + 2 : position + 2 + size])
            position += 2 + size
    return found


def _hvcc(record: bytes) -> list[bytes]:
    found: list[bytes] = []
    if len(record) <= _HVCC_ARRAYS:
        return found
    position = _HVCC_ARRAYS + 1
    for _ in range(record[_HVCC_ARRAYS]):
        count = int.from_bytes(record[position + 1 : position + 3])
        position += 3
        for _ in range(count):
            if position >= len(record):
                return found
            size = int.from_bytes(record[position : position + 2])
            found.append(record[position + 2 : position + 2 + size])
            position += 2 + size
    return found
