"""What the same machine does without a ledger: the floors that the figures are divided by.

Run as a process of its own, like the clients: `python -m benchmarks.floors NAME SETTINGS`.
"""

import hashlib
import json
import os
import struct
import sys
import time
from collections.abc import Callable
from typing import Any

import grpc
import psycopg
import uvloop
from psycopg.pq import ExecStatus

from benchmarks.figures import percentiles
from benchmarks.payloads import KIND, payload

_COLUMNS = "chain_key,sequence,occurred_at,append_count,prev_hash,hash,organisation_id,kind,idempotency_key,payload"
# The columns and indexes of the events table, with no trigger, no chain and no rule.
_BARE_TABLE = """
DROP SCHEMA IF EXISTS bare CASCADE;
CREATE SCHEMA bare;
CREATE TABLE bare.events (LIKE indelible.events INCLUDING INDEXES INCLUDING GENERATED)
"""


def copy_rows(settings: dict[str, Any]) -> dict[str, float]:
    """Binary COPY of the same rows, a durable commit for each thousand, from buffers made beforehand."""
    batches = [_batch(number, settings["batch"]) for number in range(settings["batches"])]
    with psycopg.connect(settings["dsn"], autocommit=True) as connection:
        connection.execute(_BARE_TABLE)
        copy = f"BEGIN; COPY bare.events ({_COLUMNS}) FROM STDIN (FORMAT binary); COMMIT".encode()
        for buffer in batches[: settings["warm_up"]]:
            _run_copy(connection, copy, buffer)
        started = time.perf_counter()
        for buffer in batches[settings["warm_up"] :]:
            _run_copy(connection, copy, buffer)
        seconds = time.perf_counter() - started
    return {"per_second": settings["batch"] * (settings["batches"] - settings["warm_up"]) / seconds}


def _run_copy(connection: psycopg.Connection, message: bytes, buffer: bytes) -> None:
    pgconn = connection.pgconn
    pgconn.send_query(message)
    while (result := pgconn.get_result()) is not None:
        if result.status == ExecStatus.COPY_IN:
            pgconn.put_copy_data(buffer)
            pgconn.put_copy_end()
        elif result.status == ExecStatus.FATAL_ERROR:
            raise RuntimeError(result.error_message.decode())


def _batch(number: int, size: int) -> bytes:
    rows = [b"PGCOPY\n\xff\r\n\0" + bytes(8)]
    for offset in range(size):
        place = number * size + offset
        digest = hashlib.sha256(b"%d" % place).digest()
        first = offset == 0
        fields = [
            struct.pack(">q", 1),
            struct.pack(">q", place + 1),
            struct.pack(">q", 1_795_000_000_000_000 + place),
            struct.pack(">i", size) if first else None,
            hashlib.sha256(b"%d" % (place - 1)).digest(),
            digest,
            b"bench",
            KIND.encode(),
            b"key-%d" % number if first else None,
            payload(place),
        ]
        rows.append(struct.pack(">h", len(fields)))
        rows += [b"\xff\xff\xff\xff" if f is None else struct.pack(">i", len(f)) + f for f in fields]
    return b"".join([*rows, b"\xff\xff"])


def insert_rows(settings: dict[str, Any]) -> dict[str, Any]:
    """One durable single-row INSERT after the other."""
    with psycopg.connect(settings["dsn"], autocommit=True) as connection:
        connection.execute("DROP SCHEMA IF EXISTS bare CASCADE")
        connection.execute("CREATE SCHEMA bare")
        connection.execute("CREATE TABLE bare.rows (id bigint PRIMARY KEY, payload text NOT NULL)")
        seconds = []
        for number in range(settings["warm_up"] + settings["rows"]):
            text = payload(number).decode()
            started = time.perf_counter()
            connection.execute("INSERT INTO bare.rows VALUES (%s, %s)", (number, text))
            seconds.append(time.perf_counter() - started)
    return percentiles(seconds[settings["warm_up"] :])


def hash_preimages(settings: dict[str, Any]) -> dict[str, float]:
    """SHA-256 over the preimages of as many events, one after the other; from `begin_at` on (time.time()), if given."""
    header = struct.Struct(">Q32sI")
    kind = KIND.encode()
    preimages = []
    for number in range(settings["events"]):
        text = payload(number)
        body = kind + struct.pack(">I", len(text)) + text + struct.pack(">q", number)
        preimages.append(header.pack(number, bytes(32), len(kind)) + body)
    sha256 = hashlib.sha256
    time.sleep(max(0.0, settings.get("begin_at", 0.0) - time.time()))
    best = float("inf")
    for _ in range(3):
        started = time.perf_counter()
        for preimage in preimages:
            sha256(preimage).digest()
        best = min(best, time.perf_counter() - started)
    return {"per_second": len(preimages) / best}


async def serve_echo(settings: dict[str, Any]) -> None:
    """An empty call answered with an empty answer."""

    async def echo(request: bytes, _context: Any) -> bytes:
        return request

    server = grpc.aio.server()
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("bench.Echo", {"Call": grpc.unary_unary_rpc_method_handler(echo)}),)
    )
    server.add_insecure_port(settings["address"])
    await server.start()
    print(json.dumps({"ready": os.getpid()}), flush=True)
    await server.wait_for_termination()


FLOORS: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "copy": copy_rows,
    "insert": insert_rows,
    "hash": hash_preimages,
}


def main(name: str, settings: dict[str, Any]) -> None:
    """Run one floor and print its figures as JSON."""
    if name == "echo":
        uvloop.run(serve_echo(settings))
    else:
        print(json.dumps(FLOORS[name](settings)))


if __name__ == "__main__":
    main(sys.argv[1], json.loads(sys.argv[2]))
