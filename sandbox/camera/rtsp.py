"""One viewer of the sandbox camera: RTSP 1.0 (RFC 2326) over TCP, with RTP and RTCP interleaved in the same connection.

A viewer has its own film, which begins when it says PLAY; no two see the same pictures, as long as each sees the time.
"""

import base64
import contextlib
import secrets
import socket
import struct
import threading
from typing import BinaryIO

from sandbox.camera.faults import FaultSwitch
from sandbox.camera.rtp import H264, PCMU_PAYLOAD_TYPE, VIDEO_PAYLOAD_TYPE, VIDEO_RATE
from sandbox.camera.show import Filming, Show

_MAX_LINE_BYTES = 64 * 1024
_H265_SETS = ("vps", "sps", "pps")
_HUGE_ANSWER_BYTES = 64 * 1024 * 1024


class Viewer:
    """Answers the requests of one connection, and sends the film while it is playing."""

    def __init__(self, connection: socket.socket, filming: Filming, faults: FaultSwitch) -> None:
        self._connection = connection
        self._filming = filming
        self._faults = faults
        self._sending = threading.Lock()
        self._session = secrets.token_hex(8)
        self._tracks: list[int] = []
        self._playing = threading.Event()
        self._gone = threading.Event()

    def serve(self) -> None:
        """Answer until the viewer leaves or the camera has had enough of it."""
        try:
            with self._connection, self._connection.makefile("rb") as reader:
                while self._serve_one(reader):
                    pass
        except OSError:
            pass  # the viewer, or a fault, broke the connection off
        finally:
            self._gone.set()

    def hang_up(self) -> None:
        """Break the connection off."""
        self._gone.set()
        with contextlib.suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)

    def _serve_one(self, reader: BinaryIO) -> bool:
        first = reader.read(1)
        if first == b"$":
            _channel, length = struct.unpack("!BH", reader.read(3))
            reader.read(length)  # a receiver report: nobody here acts on it
            return True
        if not first:
            return False
        lines = [first + reader.readline(_MAX_LINE_BYTES)]
        while (line := reader.readline(_MAX_LINE_BYTES)).strip():
            lines.append(line)
        request = lines[0].decode("latin-1").split()
        headers = {
            name.strip().lower(): value.strip()
            for name, _, value in (line.decode("latin-1").partition(":") for line in lines[1:])
        }
        return self._answer(request, headers)

    def _answer(self, request: list[str], headers: dict[str, str]) -> bool:
        method, address = (*request, "", "")[:2]
        sequence = headers.get("cseq", "0")
        if self._filming.password and method != "OPTIONS" and not self._is_known(headers.get("authorization", "")):
            self._reply(sequence, "401 Unauthorized", 'WWW-Authenticate: Basic realm="camera"')
        elif method == "OPTIONS":
            self._reply(sequence, "200 OK", "Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN, GET_PARAMETER")
        elif method == "DESCRIBE":
            self._describe(sequence, address)
        elif method == "SETUP":
            self._set_up(sequence, address, headers.get("transport", ""))
        elif method == "PLAY":
            self._reply(sequence, "200 OK", f"Session: {self._session}", "Range: npt=0.000-")
            self._play()
        elif method == "TEARDOWN":
            self._reply(sequence, "200 OK", f"Session: {self._session}")
            return False
        elif method == "GET_PARAMETER":
            self._reply(sequence, "200 OK", f"Session: {self._session}")
        else:
            self._reply(sequence, "501 Not Implemented")
        return True

    def _is_known(self, authorization: str) -> bool:
        wanted = base64.b64encode(f"{self._filming.user}:{self._filming.password}".encode()).decode()
        return authorization == f"Basic {wanted}"

    def _reply(self, sequence: str, status: str, *headers: str, body: bytes = b"") -> None:
        lines = [f"RTSP/1.0 {status}", f"CSeq: {sequence}", *headers]
        if body:
            lines.append(f"Content-Length: {len(body)}")
        self._send("\r\n".join([*lines, "", ""]).encode() + body)

    def _send(self, data: bytes) -> None:
        with self._sending:
            self._connection.sendall(data)

    def _describe(self, sequence: str, address: str) -> None:
        filming = self._filming
        sets = [base64.b64encode(unit).decode() for unit in filming.new_film().parameter_sets()]
        if filming.codec == H264:
            parameters = f"packetization-mode=1;sprop-parameter-sets={','.join(sets)}"
        else:
            parameters = ";".join(f"sprop-{name}={text}" for name, text in zip(_H265_SETS, sets, strict=True))
        lines = [
            "v=0",
            "o=- 0 0 IN IP4 127.0.0.1",
            "s=sandbox camera",
            "t=0 0",
            f"m=video 0 RTP/AVP {VIDEO_PAYLOAD_TYPE}",
            f"a=rtpmap:{VIDEO_PAYLOAD_TYPE} {self._faults.now.claimed_codec or filming.codec}/{VIDEO_RATE}",
            f"a=fmtp:{VIDEO_PAYLOAD_TYPE} {parameters}",
            "a=control:track0",
        ]
        if filming.sound:
            lines += [f"m=audio 0 RTP/AVP {PCMU_PAYLOAD_TYPE}", "a=control:track1"]
        body = "\r\n".join([*lines, ""]).encode()
        if self._faults.now.huge_answers:
            body += b"a=x:" + b"x" * _HUGE_ANSWER_BYTES
        self._reply(
            sequence, "200 OK", "Content-Type: application/sdp", f"Content-Base: {address.rstrip('/')}/", body=body
        )

    def _set_up(self, sequence: str, address: str, transport: str) -> None:
        if "TCP" not in transport:
            self._reply(sequence, "461 Unsupported Transport")
            return
        track = 1 if address.rstrip("/").endswith("track1") else 0
        self._tracks.append(track)
        channels = f"{2 * track}-{2 * track + 1}"
        self._reply(
            sequence,
            "200 OK",
            f"Session: {self._session};timeout=60",
            f"Transport: RTP/AVP/TCP;unicast;interleaved={channels}",
        )

    def _play(self) -> None:
        if not self._playing.is_set():
            self._playing.set()
            threading.Thread(target=self._send_film, daemon=True).start()

    def _send_film(self) -> None:
        with contextlib.suppress(OSError):
            Show(self._filming, self._faults, self._send, with_sound=1 in self._tracks).run(self._gone)
        self.hang_up()
