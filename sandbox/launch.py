"""Becomes another program that dies with whoever started it, and drops root on the way if asked.

Run by path with `python -I -S`, so it imports the standard library only. A `preexec_fn` would do the same in fewer
lines, but runs Python between fork and exec, which can hang for ever when the parent has threads (gRPC does).

Arguments: parent's pid, death signal, user to become ("-" for none), then the program and its arguments.
"""

import ctypes
import os
import pwd
import sys

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def main(arguments: list[str]) -> None:
    """Replace this process by the program; end with 127 and the reason if that cannot be done."""
    parent, death_signal, user, *program = arguments
    try:
        if user != "-":
            _become(user)
        # After the change of user, which clears the setting.
        _die_with_parent(int(parent), int(death_signal))
        os.execv(program[0], program)  # noqa: S606 - exec without a shell is the purpose of this file
    except (OSError, KeyError) as error:
        sys.stderr.write(f"cannot start {program[0]} as {user if user != '-' else 'this user'}: {error}\n")
        sys.exit(127)


def _become(user: str) -> None:
    entry = pwd.getpwnam(user)
    os.setgroups([])
    os.setgid(entry.pw_gid)
    os.setuid(entry.pw_uid)
    os.environ["HOME"] = "/"


def _die_with_parent(parent: int, death_signal: int) -> None:
    if not sys.platform.startswith("linux"):
        return  # the guide says how to find and stop orphans there
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, death_signal, 0, 0, 0)
    if os.getppid() != parent:
        sys.exit(0)  # the parent died before the setting took hold


if __name__ == "__main__":
    main(sys.argv[1:])
