"""One byte changed anywhere that matters is never VERIFIED and never ends in anything but a report or a clear error."""

import io
import itertools
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.verifier.bundle_forge import Authority, Files, data_files, sealed, short_session, write_directory, zipped
from verifier.bundle import UnusableBundle, open_bundle
from verifier.policy import TrustPolicy
from verifier.verify import verify_bundle

SMALL = (
    "data/events.jsonl",
    "data/bundle.json",
    "data/anchors/4-rfc3161-alpha.tsr",
    "data/anchors/4-rfc3161-alpha.tsq",
)
TAGS = ("bagit.txt", "bag-info.txt", "manifest-sha256.txt", "tagmanifest-sha256.txt")


@pytest.fixture(scope="module")
def small_data(alpha: Authority) -> Files:
    return data_files(short_session(), [(alpha, 4)])


def flipped(content: bytes, masks: Iterator[int]) -> Iterator[bytes]:
    for at, byte in enumerate(content):
        yield content[:at] + bytes([byte ^ next(masks)]) + content[at + 1 :]


def masks() -> Iterator[int]:
    """Single bits, of which 0x20 changes the case of letters, and all bits."""
    return itertools.cycle([0x01, 0x20, 0x80, 0xFF, 0x04])


@pytest.mark.parametrize("name", [*SMALL, *TAGS])
def test_a_byte_changed_anywhere_in_a_file_is_never_verified(
    name: str, small_data: Files, policy: TrustPolicy, tmp_path: Path
) -> None:
    files = sealed(small_data)
    folder = write_directory(files, tmp_path)
    assert verify_bundle(folder, policy=policy).verdict == "VERIFIED"
    for content in flipped(files[name], masks()):
        (folder / name).write_bytes(content)
        assert verify_bundle(folder, policy=policy).verdict == "FAILED"


def test_a_byte_changed_in_the_events_is_found_although_all_manifests_are_made_anew(
    small_data: Files, policy: TrustPolicy
) -> None:
    events = small_data["data/events.jsonl"]
    ends = [at for at, byte in enumerate(events) if byte == 0x0A]
    for at, content in enumerate(flipped(events, masks())):
        files = sealed(small_data | {"data/events.jsonl": content})
        report = verify_bundle(io.BytesIO(zipped(files)), policy=policy)
        assert report.verdict == "FAILED"
        # The event at fault is the one whose line holds the byte.
        assert report.first_divergent_sequence == 1 + sum(end < at for end in ends)


def test_a_byte_changed_anywhere_in_the_zip_file_never_changes_what_is_verified(
    small_data: Files, policy: TrustPolicy
) -> None:
    archive = zipped(sealed(small_data))
    verified = 0
    for changed in itertools.islice(flipped(archive, masks()), 0, None, 3):
        try:
            with open_bundle(io.BytesIO(changed)) as bundle:
                same = all(bundle.read_file(name) == small_data.get(name) for name in SMALL)
            verdict = verify_bundle(io.BytesIO(changed), policy=policy).verdict
        except UnusableBundle:
            continue
        # Only times, versions and attributes in the headers, and the folder's name, are free.
        if verdict == "VERIFIED":
            assert same
            verified += 1
    assert verified < len(archive) / 10


def test_a_bundle_cut_off_anywhere_is_refused(small_data: Files, policy: TrustPolicy) -> None:
    archive = zipped(sealed(small_data))
    for length in range(0, len(archive), 97):
        with pytest.raises(UnusableBundle):
            verify_bundle(io.BytesIO(archive[:length]), policy=policy)


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_several_changes_at_once_end_in_a_report_or_a_clear_error(data: st.DataObject, small_archive: bytes) -> None:
    changed = bytearray(small_archive)
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, len(changed) - 1))
        changed[at : at + data.draw(st.integers(0, 8))] = data.draw(st.binary(max_size=8))
    with suppress(UnusableBundle):
        assert verify_bundle(io.BytesIO(bytes(changed)), policy=TrustPolicy()).verdict != "VERIFIED"


@pytest.fixture(scope="module")
def small_archive(small_data: Files) -> bytes:
    return zipped(sealed(small_data))


@settings(max_examples=200, deadline=None)
@given(st.binary(min_size=1, max_size=300))
def test_any_bytes_in_place_of_bundle_json_or_events_end_in_a_report(content: bytes) -> None:
    for name in ("data/bundle.json", "data/events.jsonl", "data/disclosures.jsonl"):
        files = sealed(data_files(short_session()) | {"data/disclosures.jsonl": b""}) | {name: content}
        assert verify_bundle(io.BytesIO(zipped(files)), policy=TrustPolicy()).verdict == "FAILED"
