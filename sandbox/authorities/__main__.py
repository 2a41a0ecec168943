"""One authority as a process: `python -m sandbox.authorities (one|two) DIRECTORY`.

Prints one line of JSON when it is ready, then serves until it is ended, or until its standard input closes:
whoever started it holds the other end, so it never outlives them, however they end.
"""

import json
import os
import socket
import sys
import threading
from pathlib import Path

from sandbox.authorities import certomancer_authority
from sandbox.authorities.second import server as second_authority

_USAGE = "usage: python -m sandbox.authorities (one|two) DIRECTORY"
_EXPECTED_ARGUMENTS = 3


def main(arguments: list[str]) -> int:
    """Serve the authority named by the arguments; returns only on wrong usage."""
    if len(arguments) != _EXPECTED_ARGUMENTS or arguments[1] not in {"one", "two"}:
        print(_USAGE, file=sys.stderr)  # noqa: T201  # a command's usage message
        return 2
    directory = Path(arguments[2])
    directory.mkdir(parents=True, exist_ok=True)
    threading.Thread(target=_end_with_standard_input, daemon=True).start()
    listener = _listen(directory)

    def announce(url: str, root_pem: bytes) -> None:
        line = json.dumps({"url": url, "root_pem": root_pem.decode("ascii")})
        print(line, flush=True)  # noqa: T201  # the parent waits for this line

    if arguments[1] == "one":
        certomancer_authority.serve(directory, listener, announce)
    else:
        second_authority.serve(directory, listener, announce)
    return 0


def _listen(directory: Path) -> socket.socket:
    """Listen on the port of last time if it is free, so that addresses in certificates stay true; else on any."""
    remembered = directory / "port"
    ports = [int(remembered.read_text(encoding="ascii"))] if remembered.exists() else []
    for port in (*ports, 0):
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", port))
        except OSError:
            listener.close()
            continue
        listener.listen(128)
        remembered.write_text(str(listener.getsockname()[1]), encoding="ascii")
        return listener
    raise OSError("no port is free on the loopback interface")


def _end_with_standard_input() -> None:
    sys.stdin.buffer.read()
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main(sys.argv))
