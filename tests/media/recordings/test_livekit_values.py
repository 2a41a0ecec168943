"""What LiveKit tells, as values of ours: cut off, made printable, or an error."""

from datetime import UTC, datetime

import pytest
from livekit.protocol.egress import EgressInfo, FileInfo, ParticipantEgressRequest
from livekit.protocol.models import ParticipantInfo, TrackInfo

from media.recordings.livekit_reading import MAX_ATTRIBUTES, instant, read_egress, read_participant
from media.recordings.livekit_values import (
    EgressKind,
    EgressStatus,
    ParticipantKind,
    TrackSource,
)


def test_words_of_participants_are_cut_off_and_made_printable() -> None:
    wire = ParticipantInfo(identity="x", name="a\x00b\u202ec" + "d" * 5000, attributes={"k": "\x1b[31m"})
    read = read_participant(wire)
    assert read.name[:5] == "a\ufffdb\ufffdc"
    assert len(read.name) == 1000
    assert read.attributes == {"k": "\ufffd[31m"}
    assert read.joined_at is None


@pytest.mark.parametrize(
    "wire",
    [
        ParticipantInfo(),
        ParticipantInfo(identity="a\x00b"),
        ParticipantInfo(identity="x" * 257),
        ParticipantInfo(identity="x", sid="\n"),
        ParticipantInfo(identity="x", joined_at=-1),
        ParticipantInfo(identity="x", joined_at=2**62),
        ParticipantInfo(identity="x", attributes={str(n): "" for n in range(MAX_ATTRIBUTES + 1)}),
        ParticipantInfo(identity="x", tracks=[TrackInfo()]),
        ParticipantInfo(identity="x", tracks=[TrackInfo(sid="t")] * 257),
        EgressInfo(),
        EgressInfo(egress_id="EG_1", started_at=-5),
        EgressInfo(egress_id="EG_1", participant=ParticipantEgressRequest()),
        EgressInfo(egress_id="EG_1", file_results=[FileInfo(size=-1)]),
        EgressInfo(egress_id="EG_1", file_results=[FileInfo(duration=-1)]),
        EgressInfo(egress_id="EG_1", file_results=[FileInfo(size=2**53)]),
        EgressInfo(egress_id="EG_1", file_results=[FileInfo(duration=2**63 - 1)]),
        EgressInfo(egress_id="EG_1", file_results=[FileInfo(filename="x" * 1025)]),
        EgressInfo(egress_id="EG_1", file_results=[FileInfo(filename="x")] * 65),
    ],
)
def test_what_cannot_be_a_value_is_a_value_error(wire: ParticipantInfo | EgressInfo) -> None:
    with pytest.raises(ValueError, match=r"."):
        read_participant(wire) if isinstance(wire, ParticipantInfo) else read_egress(wire)


def test_what_is_newer_than_we_are_is_other_or_unknown() -> None:
    wire = EgressInfo(egress_id="EG_1", status=99)  # type: ignore[arg-type]  # a number of a later version
    read = read_egress(wire)
    assert (read.status, read.kind, read.is_active, read.has_ended) == (
        EgressStatus.UNKNOWN,
        EgressKind.OTHER,
        False,
        False,
    )
    participant = read_participant(ParticipantInfo(identity="x", kind=99, tracks=[TrackInfo(sid="t", source=99)]))  # type: ignore[arg-type]  # as above
    assert (participant.kind, participant.tracks[0].source) == (ParticipantKind.OTHER, TrackSource.OTHER)


def test_nanoseconds_are_cut_off_and_not_rounded() -> None:
    assert instant(1_772_366_400_123_456_999, "time") == datetime(2026, 3, 1, 12, 0, 0, 123456, UTC)
    assert instant(0, "time") is None
