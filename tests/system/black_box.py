"""The ground that the black-box tests stand on: the ledger as one process, the verifier as another, bundles between."""

import io
import json
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from ledger.client import BlockingLedgerClient, NewEvent
from verifier.policy import TrustPolicy
from verifier.report import Report
from verifier.verify import verify_bundle

PATIENCE_SECONDS = 180.0


@dataclass(frozen=True, kw_only=True, repr=False)
class Ground:
    """A running ledger service that anchors at two authorities, and an auditor who trusts both."""

    ledger: BlockingLedgerClient
    trust: Path
    policy: TrustPolicy
    folder: Path

    def live(self, chain_id: str, history: Sequence[Sequence[NewEvent] | None], *, closes: bool) -> None:
        """Open a chain and append to it; a list is one append, None a checkpoint."""
        self.ledger.open_chain(chain_id, {"case": "A-17"})
        for number, step in enumerate(history):
            if step is None:
                self.ledger.checkpoint_chain(chain_id)
            else:
                self.ledger.append_events(chain_id, step, idempotency_key=f"step {number}")
        if closes:
            self.ledger.close_chain(chain_id)
        else:
            self.ledger.checkpoint_chain(chain_id)

    def bundle_of(self, chain_id: str, *, disclosures: bool) -> bytes:
        """The bundle once every anchor was obtained."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while any(anchor.state == "pending" for anchor in self.ledger.list_anchors(chain_id)):
            assert time.monotonic() < deadline, "an anchor was not obtained"
            time.sleep(0.05)
        path = self.folder / "exported.zip"
        self.ledger.export_bundle(chain_id, path, include_disclosures=disclosures)
        return path.read_bytes()

    def judge(self, bundle: bytes) -> Report:
        """The verdict of the verifier, in this process."""
        return verify_bundle(io.BytesIO(bundle), policy=self.policy, workers=1)

    def judge_apart(self, bundle: bytes) -> tuple[int, dict[str, Any]]:
        """As the function of this name, with this ground's trust."""
        return judge_apart(bundle, self.trust)


def judge_apart(bundle: bytes, trust: Path) -> tuple[int, dict[str, Any]]:
    """Exit code and report of the verifier as an auditor runs it; an empty report for what is no bundle."""
    path = trust.with_name("judged.zip")
    path.write_bytes(bundle)
    program = str(Path(sys.executable).with_name("indelible-verify"))
    command = [program, "bundle", str(path), "--trust", str(trust), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode in {0, 1, 2, 3}, done.stderr
    assert "Traceback" not in done.stderr
    return done.returncode, json.loads(done.stdout) if done.returncode != 2 else {}


def changes(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The document with one thing changed, for everything in it: each value, each member dropped, one added."""
    for path in _paths(document):
        for change in _ALTERATIONS:
            changed = deepcopy(document)
            holder: Any = changed
            for step in path[:-1]:
                holder = holder[step]
            change(holder, path[-1])
            if json.dumps(changed) != json.dumps(document):
                yield f"{change.__name__} {'/'.join(map(str, path))}", changed


def _paths(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if path:
        yield path
    if isinstance(value, dict | list):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield from _paths(value[key], (*path, key))


def _alter(holder: Any, key: Any) -> None:
    holder[key] = _other(holder[key])


def _drop(holder: Any, key: Any) -> None:
    del holder[key]


def _add(holder: Any, key: Any) -> None:
    if isinstance(holder, dict):
        holder[f"{key}x"] = holder[key]
    else:
        holder.append(holder[key])


_ALTERATIONS: tuple[Callable[[Any, Any], None], ...] = (_alter, _drop, _add)


def _other(value: Any) -> Any:
    if value is None or isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value + 1
    if isinstance(value, str):
        # In place, so that a digest stays a digest and a time a time.
        last = value[-1:] if not value.endswith("Z") else value[-2:-1]
        other = "1" if last != "1" else "2"
        return value[:-1] + other if not value.endswith("Z") else value[:-2] + other + "Z"
    return {} if isinstance(value, list) else []


def unpack(bundle: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(bundle)) as archive:
        return {name.partition("/")[2]: archive.read(name) for name in archive.namelist()}


def pack(files: dict[str, bytes]) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for path, data in sorted(files.items()):
            archive.writestr(f"specimen/{path}", data)
    return target.getvalue()


def with_new_manifests(files: dict[str, bytes]) -> dict[str, bytes]:
    """As a forger would leave it: every digest in the bag's lists is that of the file as it is now."""
    payload = {path: data for path, data in files.items() if path.startswith("data/")}
    dated = json.loads(files["data/bundle.json"]).get("exported_at", "")
    information = files["bag-info.txt"].decode().splitlines()
    information = [line for line in information if not line.startswith(("Payload-Oxum", "Bagging-Date"))]
    information = [
        f"Bagging-Date: {str(dated)[:10]}",
        *information,
        f"Payload-Oxum: {sum(map(len, payload.values()))}.{len(payload)}",
    ]
    tags = {
        "bagit.txt": files["bagit.txt"],
        "bag-info.txt": "".join(f"{line}\n" for line in information).encode(),
        "manifest-sha256.txt": _manifest(payload),
    }
    return payload | tags | {"tagmanifest-sha256.txt": _manifest(tags)}


def _manifest(files: dict[str, bytes]) -> bytes:
    return "".join(f"{sha256(data).hexdigest()}  {path}\n" for path, data in sorted(files.items())).encode()
