"""Hostile zip files and directories: refused with a clear error, or read within the limits."""

import io
import os
import stat
import struct
import zipfile
import zlib
from pathlib import Path

import pytest

from tests.verifier.bundle_forge import Files, sealed, write_directory, zipped
from verifier.bundle import UnusableBundle, open_bundle
from verifier.container import MAX_FILES
from verifier.policy import TrustPolicy
from verifier.verify import verify_bundle


def refuse(archive: bytes, match: str) -> None:
    with pytest.raises(UnusableBundle, match=match):
        verify_bundle(io.BytesIO(archive), policy=TrustPolicy())


def with_entry(files: Files, info: zipfile.ZipInfo, content: bytes = b"x", **options: object) -> bytes:
    target = io.BytesIO(zipped(files))
    with zipfile.ZipFile(target, "a") as archive:
        archive.writestr(info, content, **options)  # type: ignore[arg-type] # compression, by the test that gives it
    return target.getvalue()


@pytest.mark.parametrize(
    "name",
    [
        *("demo-1/../../etc/passwd", "/etc/passwd", "demo-1//x", "demo-1/./x", "demo-1/data/..", "demo-1/a b"),
        *("demo-1/data/a\\b", "demo-1/.hidden", "demo-1/é", "demo-1/" + "x" * 129, "demo-1" + "/x" * 300),
        *("C:/x", "demo-1/data/x\n", "other/bagit.txt", "demo-1/data/EVENTS.jsonl", "demo-1/data/events.jsonl/x"),
    ],
)
def test_a_zip_entry_with_a_path_that_no_bundle_has_is_refused(name: str, good_files: Files) -> None:
    refuse(with_entry(good_files, zipfile.ZipInfo(name)), "not a bundle")


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_zip_entry_that_is_there_twice_is_refused(good_files: Files) -> None:
    refuse(with_entry(good_files, zipfile.ZipInfo("demo-1/data/events.jsonl")), "twice")


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFSOCK, stat.S_IFDIR])
def test_a_zip_entry_that_is_no_regular_file_is_refused(kind: int, good_files: Files) -> None:
    info = zipfile.ZipInfo("demo-1/data/link")
    info.create_system, info.external_attr = 3, (kind | 0o777) << 16
    refuse(with_entry(good_files, info), "link or a special file")


def test_a_zip_bomb_is_refused_before_it_is_unpacked(good_files: Files) -> None:
    info = zipfile.ZipInfo("demo-1/data/artefacts/bomb")
    archive = with_entry(good_files, info, bytes(50_000_000), compress_type=zipfile.ZIP_DEFLATED)
    assert len(archive) < 200_000
    refuse(archive, "200 times")


def test_a_zip_entry_that_unpacks_to_more_than_it_states_is_damage(good_data: Files) -> None:
    archive = zipped(sealed(good_data | {"data/artefacts/x": bytes(500_000)}), method=zipfile.ZIP_DEFLATED)
    changed = archive.replace(struct.pack("<L", 500_000), struct.pack("<L", 1000))
    report = verify_bundle(io.BytesIO(changed), policy=TrustPolicy())
    assert "bag-file-damaged" in {finding.code for finding in report.findings}


def test_a_zip_file_with_too_many_entries_is_refused(good_files: Files) -> None:
    many = {f"data/artefacts/{number}": b"" for number in range(MAX_FILES)}
    refuse(zipped(good_files | many), f"more than {MAX_FILES} files")


def test_a_zip_file_that_lies_about_its_number_of_entries_is_refused(good_files: Files) -> None:
    archive = bytearray(zipped(good_files))
    for count in (0, 1, len(good_files) + 1, 0xFFFE):
        archive[-14:-10] = struct.pack("<2H", count, count)
        refuse(bytes(archive), "not a bundle")


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_zip_entry_packed_in_another_way_is_refused(method: int, good_files: Files) -> None:
    refuse(zipped(good_files, method=method), "unknown way")


def test_an_encrypted_zip_entry_is_refused(good_files: Files) -> None:
    archive = bytearray(zipped(good_files))
    archive[6] |= 1
    archive[archive.index(b"PK\x01\x02") + 8] |= 1
    refuse(bytes(archive), "encrypted")


@pytest.mark.parametrize("extra", [b"x", b"PK\x03\x04", bytes(1000)])
def test_bytes_before_between_or_after_the_entries_are_refused(extra: bytes, good_files: Files) -> None:
    archive = zipped(good_files)
    refuse(extra + archive, "not a bundle")
    refuse(archive + extra, "not a bundle")
    at = archive.index(b"PK\x01\x02")
    refuse(archive[:at] + extra + archive[at:], "not a bundle")


def test_a_zip_comment_is_refused(good_files: Files) -> None:
    target = io.BytesIO(zipped(good_files))
    with zipfile.ZipFile(target, "a") as archive:
        archive.comment = b"See page 2."
    refuse(target.getvalue(), "has a comment")


def with_comment_of_the_last_entry(archive: bytes, comment: bytes) -> bytes:
    end = list(struct.unpack("<4s4H2LH", archive[-22:]))
    directory = bytearray(archive[end[6] : -22])
    struct.pack_into("<H", directory, directory.rindex(b"PK\x01\x02") + 32, len(comment))
    end[5] += len(comment)
    return archive[: end[6]] + bytes(directory) + comment + struct.pack("<4s4H2LH", *end)


def test_a_comment_of_an_entry_is_refused(good_files: Files) -> None:
    refuse(with_comment_of_the_last_entry(zipped(good_files), b"x"), "comment")


def test_a_second_directory_that_other_programs_would_read_is_refused(good_files: Files, good_data: Files) -> None:
    # Python's zipfile and others believe a Zip64 locator before the end record, although nothing there asks for it.
    other = zipped(sealed(good_data | {"data/README.txt": b"Something else.\n"}))
    members, directory = other[: other.index(b"PK\x01\x02")], bytearray(other[other.index(b"PK\x01\x02") : -22])
    count = directory.count(b"PK\x01\x02")
    archive = zipped(sealed(good_data | {"data/artefacts/blob": members}))
    offset, at = archive.index(members), 0
    for _ in range(count):
        (old,) = struct.unpack_from("<L", directory, at + 42)
        struct.pack_into("<L", directory, at + 42, old + offset)
        at += 46 + sum(struct.unpack_from("<3H", directory, at + 28))
    place = len(archive) - 22
    record = struct.pack("<4sQ2H2L4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, count, count, len(directory), place)
    locator = struct.pack("<4sLQL", b"PK\x06\x07", 0, place + len(directory), 1)
    forged = with_comment_of_the_last_entry(archive, bytes(directory) + record + locator)
    assert zipfile.ZipFile(io.BytesIO(forged)).read("demo-1/data/README.txt") == b"Something else.\n"
    refuse(forged, "Zip64 locator")


def test_end_records_that_disagree_are_refused(good_files: Files) -> None:
    archive = zipped(good_files)
    end = list(struct.unpack("<4s4H2LH", archive[-22:]))
    record = struct.pack("<4sQ2H2L4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, end[3], end[4], end[5], end[6])
    locator = struct.pack("<4sLQL", b"PK\x06\x07", 0, len(archive) - 22, 1)
    end[3] = end[4] = 0xFFFF
    good = archive[:-22] + record + locator + struct.pack("<4s4H2LH", *end)
    assert verify_bundle(io.BytesIO(good), policy=TrustPolicy()).chain_ok
    end[6] -= 1
    refuse(archive[:-22] + record + locator + struct.pack("<4s4H2LH", *end), "disagree")


def test_a_zip_entry_with_a_second_name_is_refused(good_files: Files) -> None:
    info = zipfile.ZipInfo("demo-1/data/artefacts/one")
    info.extra = struct.pack("<2HBL", 0x7075, 8, 1, zlib.crc32(info.filename.encode())) + b"two"
    refuse(with_entry(good_files, info), "two names")


@pytest.mark.parametrize("system", [0, 3, 19])
def test_a_link_is_refused_whatever_system_it_was_made_on(system: int, good_files: Files) -> None:
    info = zipfile.ZipInfo("demo-1/data/artefacts/link")
    info.create_system, info.external_attr = system, (stat.S_IFLNK | 0o777) << 16
    refuse(with_entry(good_files, info), "link or a special file")


@pytest.mark.parametrize("name", ["demo-1/../../outside/", "/", "demo-1/data/empty/", "demo-1/data/events.jsonl/"])
def test_a_directory_in_which_no_file_lies_is_refused(name: str, good_files: Files) -> None:
    refuse(with_entry(good_files, zipfile.ZipInfo(name), b""), "directory")


def test_a_local_header_that_says_something_else_than_the_directory_is_refused(good_files: Files) -> None:
    archive = zipped(good_files)
    refuse(archive.replace(b"demo-1/data/README.txt", b"demo-1/data/README.tx_", 1), "two different ways")


def test_two_entries_that_share_their_bytes_are_refused(good_files: Files) -> None:
    archive = zipped(good_files)
    at = archive.index(b"PK\x01\x02")
    name_at = archive.index(b"demo-1/data/README.txt", at) - 46
    offset = struct.unpack_from("<L", archive, name_at + 42)[0]
    other = archive.index(b"demo-1/data/bundle.json", at) - 46
    changed = archive[: other + 42] + struct.pack("<L", offset) + archive[other + 46 :]
    refuse(changed, "overlap|two different ways")


def test_zip64_sizes_that_do_not_fit_the_file_are_refused(good_files: Files) -> None:
    info = zipfile.ZipInfo("demo-1/zip64")
    target = io.BytesIO(zipped(good_files))
    with zipfile.ZipFile(target, "a") as archive, archive.open(info, "w", force_zip64=True) as entry:
        entry.write(b"x")
    archive_bytes = target.getvalue()
    local = archive_bytes.index(b"PK\x03\x04", archive_bytes.index(b"demo-1/zip64") - 40)
    extra = archive_bytes.index(b"demo-1/zip64", local) + len("demo-1/zip64")
    for size in (2, 2**40, 2**64 - 1):
        changed = bytearray(archive_bytes)
        changed[extra + 4 : extra + 20] = struct.pack("<2Q", size, size)
        refuse(bytes(changed), "two different ways")


@pytest.mark.parametrize("content", [b"", b"PK", b"PK\x05\x06" + bytes(18), b"\x00" * 100, b"%PDF-1.7\n" * 50])
def test_what_is_no_zip_file_is_refused(content: bytes) -> None:
    refuse(content, "not a bundle")


def test_a_zip_file_whose_directory_claims_to_be_huge_is_refused_without_reading_it() -> None:
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 9, 9, 2**31, 0, 0)
    refuse(end, "not a bundle")


@pytest.mark.parametrize("base", ["", "renamed by hand/", "Ünïcode/"])
def test_a_bundle_packed_again_by_hand_still_verifies(base: str, good_files: Files, policy: TrustPolicy) -> None:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        if base:
            archive.writestr(zipfile.ZipInfo(base), b"")
        archive.writestr(zipfile.ZipInfo(base + "data/"), b"")
        for name, content in good_files.items():
            archive.writestr(base + name, content)
    assert verify_bundle(io.BytesIO(target.getvalue()), policy=policy).verdict == "VERIFIED"


def test_a_bundle_written_to_a_pipe_with_data_descriptors_still_verifies(
    good_files: Files, policy: TrustPolicy
) -> None:
    class Pipe(io.RawIOBase):
        def __init__(self) -> None:
            self.written = bytearray()

        def writable(self) -> bool:
            return True

        def write(self, data: object) -> int:
            self.written += bytes(data)  # type: ignore[call-overload] # what zipfile writes is bytes-like
            return len(bytes(data))  # type: ignore[call-overload] # as above

    pipe = Pipe()
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in good_files.items():
            archive.writestr("x/" + name, content)
    assert verify_bundle(io.BytesIO(bytes(pipe.written)), policy=policy).verdict == "VERIFIED"


def test_a_bundle_with_zip64_sizes_still_verifies(good_files: Files, policy: TrustPolicy) -> None:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for name, content in good_files.items():
            with archive.open(zipfile.ZipInfo("x/" + name), "w", force_zip64=True) as entry:
                entry.write(content)
    assert verify_bundle(io.BytesIO(target.getvalue()), policy=policy).verdict == "VERIFIED"


def test_deflated_data_followed_by_more_data_is_damage(good_files: Files) -> None:
    packer = zlib.compressobj(wbits=-15)
    packed = packer.compress(b"x" * 100) + packer.flush() + b"hidden"
    local = struct.pack("<4s5H3L2H", b"PK\x03\x04", 20, 0, 8, 0, 33, zlib.crc32(b"x" * 100), len(packed), 100, 9, 0)
    central = struct.pack(
        "<4s6H3L5H2L", b"PK\x01\x02", 20, 20, 0, 8, 0, 33, zlib.crc32(b"x" * 100), len(packed), 100, 9, 0, 0, 0, 0, 0, 0
    )
    body = local + b"bagit.txt" + packed
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 1, 1, len(central) + 9, len(body), 0)
    refuse(body + central + b"bagit.txt" + end, "no bag-info.txt")


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_zip_file_on_disk_and_a_directory_verify_alike(
    method: int, good_files: Files, policy: TrustPolicy, tmp_path: Path
) -> None:
    path = tmp_path / "bundle.zip"
    path.write_bytes(zipped(good_files, method=method))
    folder = write_directory(good_files, tmp_path / "bundle")
    assert verify_bundle(path, policy=policy) == verify_bundle(folder, policy=policy)


@pytest.mark.parametrize("target", ["/etc/passwd", "events.jsonl", "nowhere"])
def test_a_link_in_a_directory_is_refused_not_followed(target: str, good_files: Files, tmp_path: Path) -> None:
    folder = write_directory(good_files, tmp_path)
    (folder / "data" / "link").symlink_to(target)
    with pytest.raises(UnusableBundle, match="is a link"):
        open_bundle(folder)


def test_a_linked_folder_and_a_pipe_in_a_directory_are_refused(good_files: Files, tmp_path: Path) -> None:
    folder = write_directory(good_files, tmp_path / "one")
    (folder / "data" / "evidence").symlink_to(tmp_path)
    with pytest.raises(UnusableBundle, match="is a link"):
        open_bundle(folder)
    folder = write_directory(good_files, tmp_path / "two")
    os.mkfifo(folder / "data" / "pipe")
    with pytest.raises(UnusableBundle, match="special file"):
        open_bundle(folder)


def test_a_pipe_a_missing_path_and_an_empty_folder_are_no_bundles(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "empty").mkdir()
    for path in (tmp_path / "pipe", tmp_path / "missing", tmp_path / "empty", tmp_path / "x\x00y"):
        with pytest.raises(UnusableBundle):
            open_bundle(path)


def test_a_file_larger_than_its_kind_may_be_is_never_read_into_memory(good_data: Files) -> None:
    files = sealed(good_data | {"data/bundle.json": good_data["data/bundle.json"]})
    files["data/bundle.json"] += b" " * (9 * 1024 * 1024)
    report = verify_bundle(io.BytesIO(zipped(files)), policy=TrustPolicy())
    assert "bundle-json-missing" in {finding.code for finding in report.findings}
    files = dict(good_data)
    with pytest.raises(UnusableBundle, match="longer than"):
        verify_bundle(
            io.BytesIO(zipped(sealed(files) | {"manifest-sha256.txt": b"x" * (9 * 1024 * 1024)})), policy=TrustPolicy()
        )


def test_a_bundle_of_a_later_format_is_refused_as_such_only_if_it_is_unaltered(good_data: Files) -> None:
    later = good_data | {"data/bundle.json": good_data["data/bundle.json"].replace(b"bundle/1", b"bundle/2")}
    refuse(zipped(sealed(later)), "indelible-bundle/2")
    altered = sealed(good_data) | {"data/bundle.json": later["data/bundle.json"]}
    assert verify_bundle(io.BytesIO(zipped(altered)), policy=TrustPolicy()).verdict == "FAILED"
