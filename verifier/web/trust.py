"""The trust policy that the page verifies under: the file as it is now, not as it was when the page started."""

import logging
import threading
from dataclasses import dataclass
from pathlib import Path

from verifier.policy import TrustPolicy, load_policy
from verifier.web.examine import Examiner, Turns

_log = logging.getLogger("verifier.web")


@dataclass(frozen=True, kw_only=True, slots=True)
class Trust:
    """A policy, and the examiner that verifies under it."""

    policy: TrustPolicy
    examiner: Examiner


class TrustFile:
    """Reads a policy again whenever its file was changed or replaced. Thread-safe.

    A file that has become unusable leaves the policy before it in force, and the log says why. A change of a file that
    the policy names is noticed when the policy itself is written anew.
    """

    def __init__(self, path: Path | None, turns: Turns) -> None:
        """Raises `ValueError` or `OSError` if there is a policy and it cannot be used. None trusts nobody."""
        self._path = path
        self._turns = turns
        self._lock = threading.Lock()
        # Taken before reading: what is written meanwhile makes another mark, and is read next time.
        self._mark = self._look()
        self._trust = self._read()

    def current(self) -> Trust:
        """What is trusted now. What was verified under another policy is not remembered."""
        with self._lock:
            mark = self._look()
            if mark != self._mark:
                self._mark = mark
                try:
                    self._trust = self._read()
                    _log.info("The trust policy was changed and read again.")
                except (ValueError, OSError) as error:
                    _log.error("The policy that was read before stays in force: %s", error)
            return self._trust

    def _look(self) -> tuple[int, ...]:
        """What tells the file from any other; empty when there is none."""
        try:
            found = self._path.stat() if self._path is not None else None
        except OSError:
            found = None
        return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns) if found else ()

    def _read(self) -> Trust:
        policy = load_policy(self._path) if self._path is not None else TrustPolicy()
        return Trust(policy=policy, examiner=Examiner(policy, self._turns))
