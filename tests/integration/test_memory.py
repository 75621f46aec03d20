"""A worker's memory stays bounded, whatever a crowd of clients sends at once."""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
from typing import TYPE_CHECKING

import psutil

from pouw.protocol.types import Aux
from tests.support import API, Identity, Node

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import StartNode

CLIENTS = 1_000
MOST_BYTES = 65_536 + 40_960 * 100
BOUND = 600 * 2**20
"""Python and the code 90 MiB, small bodies 128 MiB, large ones 64 MiB, and what a few batches grow to decoded."""


def largest_legal_batch(node: Node, client: Identity) -> bytes:
    """Return a batch of a hundred receipts with all that a receipt can hold, every character escaped."""
    token = node.http.challenge()
    items = client.items(token, 100, aux=Aux(b"m" * 64, b"d" * 64, "\x01" * 4096), provider_id=b"p" * 64)
    text = json.dumps({"version": 1, "client_did": client.did, "batch_nonce": secrets.token_hex(16), "receipts": items})
    assert len(text) < MOST_BYTES
    return (text + " " * (MOST_BYTES - len(text))).encode()


async def send(port: int, body: bytes) -> int:
    """Send as much of a body as the node takes and return the answer's status; 0 where it hung up."""
    with contextlib.suppress(OSError, asyncio.IncompleteReadError):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            head = f"POST {API}/submit HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode())
            with contextlib.suppress(OSError):
                for start in range(0, len(body), 65_536):
                    writer.write(body[start : start + 65_536])
                    await writer.drain()
            line = await reader.readuntil(b"\r\n")
            return int(line.split()[1])
        finally:
            writer.close()
    return 0


async def crowd(port: int, bodies: list[bytes], watch: Callable[[], None]) -> list[int]:
    async def look() -> None:
        while True:
            watch()
            await asyncio.sleep(0.05)

    watcher = asyncio.create_task(look())
    statuses = await asyncio.gather(*(send(port, bodies[number % len(bodies)]) for number in range(CLIENTS)))
    watcher.cancel()
    return list(statuses)


def test_a_thousand_clients_with_the_largest_bodies_do_not_fill_a_worker(
    start_node: StartNode, new_database: Callable[[], str], client: Identity, record_property: Callable[..., None]
) -> None:
    """Legal batches, and bodies as large that are none: nested, full of values, one long string."""
    node = start_node(new_database(), workers=2, db_timeout_secs=30)
    bodies = [
        largest_legal_batch(node, Identity()),
        (b"[" * (MOST_BYTES // 2)).ljust(MOST_BYTES, b"]"),
        b'{"version":1,"receipts":[' + b"1," * (MOST_BYTES // 2 - 100) + b"1]}",
        largest_legal_batch(node, Identity()),
        b'{"client_did":"' + b"x" * (MOST_BYTES - 20) + b'"}',
        b'{"' + b'a":{"' * (MOST_BYTES // 6),
    ]
    workers = node.workers()
    most = [0] * len(workers)

    def watch() -> None:
        for number, worker in enumerate(workers):
            most[number] = max(most[number], worker.memory_info().rss)

    statuses = asyncio.run(crowd(node.port, bodies, watch))
    record_property("largest_resident_mib", max(most) // 2**20)
    assert max(most) < BOUND
    assert set(statuses) <= {200, 400, 413, 422, 503, 0}
    assert {200, 400, 503} & set(statuses)
    assert [worker.pid for worker in workers] == [worker.pid for worker in node.workers()], "no worker died"
    assert all(psutil.pid_exists(worker.pid) for worker in workers)
    assert len(node.http.accepted(client.batch(client.items(node.http.challenge(), 3)))) == 3
    node.stop()
