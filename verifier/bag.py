"""The BagIt side of a bundle: tag files and digests (`docs/spec/bundle.md`, section 2)."""

import hashlib
import re
from collections.abc import Callable

from verifier.container import PATH, Container, DamagedFileError, UnusableBundle
from verifier.findings import Finding, Severity

BAGIT = "bagit.txt"
BAG_INFO = "bag-info.txt"
MANIFEST = "manifest-sha256.txt"
TAG_MANIFEST = "tagmanifest-sha256.txt"
TAG_FILES = frozenset({BAGIT, BAG_INFO, MANIFEST, TAG_MANIFEST})
PAYLOAD = "data/"

MAX_FINDINGS = 100
"""Malformed lines of a manifest worth naming: a manifest may be millions of them, and memory stays bounded."""

MAX_TEXT_BYTES = 8 * 1024 * 1024
"""Tag files and bundle.json are read into memory; this is enough for as many files and anchors as there may be."""

BAGIT_TEXT = b"BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n"
_INFO = re.compile(
    r"Bagging-Date: ([0-9]{4}-[0-9]{2}-[0-9]{2})\nExternal-Identifier: ([A-Za-z0-9._-]+)\n"
    r"Payload-Oxum: ([0-9]{1,20})\.([0-9]{1,10})\n"
)
_LINE = re.compile(r"([0-9a-f]{64})  (.+)")


class Bag:
    """The manifests of a bag and what was found wrong with its files.

    Opening reads the tag files only; `check` reads every file once. Raises `UnusableBundle` when the tag files are
    missing or beyond limits.
    """

    def __init__(self, container: Container) -> None:
        self._container = container
        sizes = container.sizes
        missing = sorted(TAG_FILES - sizes.keys())
        if missing:
            raise UnusableBundle(f"This is not a bundle: it has no {missing[0]}.")
        self._tags: dict[str, bytes] = {}
        for name in sorted(TAG_FILES):
            if sizes[name] > MAX_TEXT_BYTES:
                raise UnusableBundle(f"This is not a bundle: {name} is longer than {MAX_TEXT_BYTES} bytes.")
        self.findings: list[Finding] = []
        self.digests: dict[str, str] = {}
        """Digests of the files under data/, as the manifest states them."""
        for name in sorted(TAG_FILES):
            self._tags[name] = self._read_tag(name)

    def check(self, progress: Callable[[int], None]) -> None:
        """Check the tag files, then every file's digest, and note what is wrong in `findings`.

        `progress` is told of every further block how many bytes it has.
        """
        self._check_tags()
        self.digests = self._read_manifest(MANIFEST)
        sizes = self._container.sizes
        payload = {path for path in sizes if path.startswith(PAYLOAD)}
        for path in sorted(sizes.keys() - payload - TAG_FILES):
            self._wrong("bag-file-unlisted", path, "is not a file that a bundle has")
        for path in sorted(payload - self.digests.keys()):
            self._wrong("bag-file-unlisted", path, "is not in the manifest")
        for path in sorted(self.digests.keys() - payload):
            self._wrong("bag-file-missing", path, "is in the manifest but not in the bundle")
        for path in sorted(payload & self.digests.keys()):
            try:
                digest = self._digest(path, progress)
            except DamagedFileError as error:
                self._wrong("bag-file-damaged", path, f"is damaged: {error}")
            else:
                if digest != self.digests[path]:
                    self._wrong("bag-digest-mismatch", path, f"has the digest {digest}, not the one in the manifest")

    def check_info(self, *, chain_id: str, date: str) -> None:
        """Compare bag-info.txt with what bundle.json says and with the files."""
        found = _INFO.fullmatch(self._tags[BAG_INFO].decode("utf-8", "replace"))
        sizes = [size for path, size in self._container.sizes.items() if path.startswith(PAYLOAD)]
        if found is None:
            self._wrong("bag-info-malformed", BAG_INFO, "does not have the lines of a bundle")
        elif (found[1], found[2], int(found[3]), int(found[4])) != (date, chain_id, sum(sizes), len(sizes)):
            self._wrong("bag-info-mismatch", BAG_INFO, "states another date, chain, size or number of files")

    def _check_tags(self) -> None:
        if self._tags[BAGIT] != BAGIT_TEXT:
            self._wrong("bag-declaration", BAGIT, "does not declare a BagIt 1.0 bag in UTF-8")
        stated = self._read_manifest(TAG_MANIFEST)
        for name in sorted((TAG_FILES - {TAG_MANIFEST}) | stated.keys()):
            content = self._tags.get(name, b"")
            if name not in TAG_FILES or stated.get(name) != hashlib.sha256(content).hexdigest():
                self._wrong("bag-digest-mismatch", name, f"does not have the digest that {TAG_MANIFEST} states")

    def _read_manifest(self, name: str) -> dict[str, str]:
        text = self._tags[name].decode("utf-8", "replace")
        digests: dict[str, str] = {}
        malformed = 0
        ordered = ""
        for line in text.removesuffix("\n").split("\n") if text else []:
            found = _LINE.fullmatch(line)
            if found is None or not PATH.fullmatch(found[2]):
                malformed += 1
                if malformed <= MAX_FINDINGS:
                    self._wrong("bag-manifest-malformed", name, f"has the malformed line {line!r:.100}")
                continue
            if found[2] <= ordered:
                self._wrong("bag-manifest-malformed", name, f"has the line {line!r:.100} out of order or twice")
            ordered = found[2]
            digests.setdefault(ordered, found[1])
        if not text.endswith("\n"):
            self._wrong("bag-manifest-malformed", name, "does not end with a line feed")
        return digests

    def _read_tag(self, name: str) -> bytes:
        try:
            return b"".join(self._container.blocks(name))
        except DamagedFileError as error:
            self._wrong("bag-file-damaged", name, f"is damaged: {error}")
            return b""

    def _digest(self, path: str, progress: Callable[[int], None]) -> str:
        digest = hashlib.sha256()
        for block in self._container.blocks(path):
            digest.update(block)
            progress(len(block))
        return digest.hexdigest()

    def _wrong(self, code: str, path: str, text: str) -> None:
        self.findings.append(
            Finding(code=code, severity=Severity.ERROR, where=path, message=f"The file {path} {text}.")
        )
