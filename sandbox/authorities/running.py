"""Starting, stopping and describing the two authorities, from the side of whoever needs them."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from sandbox.announced import Announced, NotAnnouncedError
from sandbox.authorities import certomancer_authority
from sandbox.authorities.faults import Fault, set_fault
from sandbox.authorities.second import pki as second_pki


class AuthorityError(RuntimeError):
    """A local authority could not be started; the text has the end of its log."""


class Authority:
    """One local authority: its child process, its address and its root certificate.

    `url` is where time-stamp requests are posted, `root_path` the PEM file of its root, which stays the same
    from one start to the next.
    """

    def __init__(self, *, name: str, which: Literal["one", "two"], policy: str, directory: Path) -> None:
        self.name = name
        self.policy = policy
        self.directory = directory.resolve()
        self.root_path = self.directory / "root.pem"
        self.url = ""
        self._which = which
        self._process: Announced | None = None

    @property
    def root_pem(self) -> bytes:
        """The root certificate, as PEM."""
        return self.root_path.read_bytes()

    @property
    def process_id(self) -> int | None:
        """The process of the running authority, or None while it is stopped."""
        return self._process.process_id if self._process else None

    def start(self) -> None:
        """Start the process and wait until it answers. Raises AuthorityError when it does not come up."""
        self.launch()
        self.wait_ready()

    def launch(self) -> None:
        """Start the process; `wait_ready` must follow. Several can come up at once this way."""
        self._process = Announced("sandbox.authorities", [self._which, str(self.directory)], self.directory)

    def wait_ready(self) -> None:
        """Wait until the process answers. Raises AuthorityError, and ends the process, when it does not come up."""
        if self._process is None:
            raise AuthorityError(f"{self.name} was not launched")
        try:
            ready = self._process.wait_ready()
        except BaseException as error:
            self.stop()
            if not isinstance(error, NotAnnouncedError):
                raise
            text = f"the local authority {self.name} did not start; its log ends with:\n{error}"
            raise AuthorityError(text) from error
        self.url = ready["url"]
        self.root_path.write_text(ready["root_pem"], encoding="ascii")

    def stop(self) -> None:
        """End the process; connections are refused from now on. Keys and port stay for the next start."""
        if self._process is not None:
            self._process.stop()
            self._process = None

    def misbehave(self, fault: Fault) -> None:
        """Do `fault` from the next answer on; `Fault.NONE` ends it. Only `sandbox-two` can."""
        if self._which == "one":
            raise ValueError("sandbox-one is other people's code and does not misbehave on command; use sandbox-two")
        set_fault(self.directory, fault)

    def configuration(self) -> str:
        """The table for the ledger's authorities file (TOML)."""
        return _toml_table(self.name, {"url": self.url, "roots": [str(self.root_path)], "policies": [self.policy]})

    def trust(self) -> str:
        """The table for a verifier's trust policy (TOML)."""
        return _toml_table(self.name, {"roots": [str(self.root_path)], "policies": [self.policy]})


class Authorities:
    """Both authorities, running."""

    def __init__(self, *, one: Authority, two: Authority) -> None:
        self.one = one
        self.two = two

    def __iter__(self) -> Iterator[Authority]:
        return iter((self.one, self.two))

    def write_configuration(self, path: Path) -> None:
        """Write the ledger's authorities file (`INDELIBLE_AUTHORITIES`) for these two."""
        path.write_text("\n".join(authority.configuration() for authority in self), encoding="utf-8")

    def write_trust_policy(self, path: Path) -> None:
        """Write a verifier's trust policy that trusts these two."""
        tables = (authority.trust() for authority in self)
        path.write_text("\n".join(['format = "indelible-trust/1"\n', *tables]), encoding="utf-8")


@contextlib.contextmanager
def start_authorities(directory: Path) -> Iterator[Authorities]:
    """Run both authorities, with their keys under `directory`, until the block ends.

    Raises AuthorityError when one does not come up; nothing is left running then.
    """
    one = Authority(
        name="sandbox-one", which="one", policy=certomancer_authority.POLICY, directory=directory / "sandbox-one"
    )
    two = Authority(name="sandbox-two", which="two", policy=second_pki.POLICY, directory=directory / "sandbox-two")
    with contextlib.ExitStack() as running:
        for authority in (one, two):
            running.callback(authority.stop)
            authority.launch()
        for authority in (one, two):
            authority.wait_ready()
        yield Authorities(one=one, two=two)


def _toml_table(name: str, members: dict[str, str | list[str]]) -> str:
    # JSON strings and lists of strings are TOML as well.
    lines = [f"[authorities.{name}]", *(f"{key} = {json.dumps(value)}" for key, value in members.items())]
    return "\n".join(lines) + "\n"
