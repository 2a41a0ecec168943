"""The double as a process: `python -m sandbox.livekit URL...`, which are where reports go to.

Prints one line of JSON when it is ready, then serves until it is ended, or until its standard input closes: whoever
started it holds the other end, so it never outlives them, however they end.
"""

import json
import os
import secrets
import sys

from sandbox.livekit.control import ControlServer
from sandbox.livekit.double import API_KEY, LiveKitDouble


def main(arguments: list[str]) -> None:
    """Serve until standard input closes."""
    with LiveKitDouble(keys={API_KEY: secrets.token_urlsafe(32)}) as livekit:
        livekit.send_webhooks_to(*arguments[1:])
        control = ControlServer(livekit)
        control.serve_in_thread()
        ready = {
            "url": livekit.url,
            "control": control.url,
            "api_key": livekit.api_key,
            "api_secret": livekit.api_secret,
        }
        print(json.dumps(ready), flush=True)  # noqa: T201  # the parent waits for this line
        sys.stdin.buffer.read()
        os._exit(0)


if __name__ == "__main__":
    main(sys.argv)
