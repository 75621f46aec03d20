"""Batches that are signed before anything is measured, and what a right answer to each of them is."""

from __future__ import annotations

import base64
import json
import mmap
import multiprocessing
import os
import random
import secrets
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, overload

import nacl.bindings
import orjson
from nacl.signing import SigningKey

from bench.load import OK, Generator
from pouw import _fastverify
from pouw.protocol.canonical import bytes_field, integer_field, message_field
from pouw.protocol.dids import did_from_key

if TYPE_CHECKING:
    from collections.abc import Iterator

API = "/api/v1/pouw"
CHALLENGE = f"GET {API}/challenge HTTP/1.1\r\nHost: bench\r\n\r\n".encode()
_CHUNK_RECEIPTS = 10_000
_TYPES, _SHARES = ("hash", "merkle", "signature"), (60, 30, 10)


@dataclass(frozen=True, slots=True)
class Mix:
    """What a corpus is made of. Shares are from 0 to 1, of the receipts; ``dids`` take turns batch by batch."""

    batches: int
    batch_size: int = 100
    dids: int = 100
    compact: bool = False
    invalid: float = 0.0
    replayed: float = 0.0


@dataclass(frozen=True, slots=True)
class Client:
    """A key, its DID, and the challenge that its receipts name."""

    seed: bytes
    public_key: bytes
    did: str
    task_id: str
    challenge_nonce: str


@dataclass(frozen=True, slots=True)
class Expected:
    """How many receipts of a batch are accepted, and how many refused for which detail."""

    accepted: int
    invalid_signature: int
    duplicate_nonce: int


class Corpus(Sequence[memoryview]):
    """HTTP requests in a file that is mapped, not held; ``expected[n]`` is the right answer to the nth."""

    def __init__(self, mapped: mmap.mmap | bytes, ends: list[int], expected: list[Expected], mix: Mix) -> None:
        self._view = memoryview(mapped)
        self._ends = ends
        self.expected = expected
        self.mix = mix

    def __len__(self) -> int:
        return len(self._ends)

    @overload
    def __getitem__(self, index: int) -> memoryview: ...
    @overload
    def __getitem__(self, index: slice) -> list[memoryview]: ...
    def __getitem__(self, index: int | slice) -> memoryview | list[memoryview]:
        if isinstance(index, slice):
            return [self[each] for each in range(*index.indices(len(self)))]
        if not 0 <= index < len(self):
            raise IndexError(index)
        return self._view[self._ends[index - 1] if index else 0 : self._ends[index]]

    def receipt_nonces(self, index: int) -> list[bytes]:
        """Return the nonces that stand in the nth request."""
        body = bytes(self[index]).split(b"\r\n\r\n", 1)[1]
        if self.mix.compact:
            _version, _did, _nonce, items = _fastverify.split_batch(body, self.mix.batch_size)
            decoded = _fastverify.decode_protobuf(items)
        else:
            decoded = _fastverify.decode_json(orjson.loads(body)["receipts"])
        return [receipt.receipt_nonce or b"" for receipt in decoded]


def make_clients(base: str, count: int) -> list[Client]:
    """Make keys and ask for a challenge for each."""
    with Generator(base, min(count, 8)) as generator:
        run = generator.run([CHALLENGE] * count, rate=None, progress=False)
    clients = []
    for answer in run.answers:
        if answer.status != OK:
            raise RuntimeError(f"{base} refuses challenges: {answer.status} {answer.body[:200].decode()}")
        token = json.loads(base64.b64decode(json.loads(answer.body)["token"]))
        key = SigningKey.generate()
        public = bytes(key.verify_key)
        clients.append(Client(bytes(key), public, did_from_key(public), token["task_id"], token["challenge_nonce"]))
    return clients


def sign(clients: Sequence[Client], mix: Mix) -> Corpus:
    """Sign a corpus on all cores; every receipt is new, but for the share that is replayed."""
    step = max(1, _CHUNK_RECEIPTS // mix.batch_size)
    firsts = range(0, mix.batches, step)
    chunks = [replace(mix, batches=min(step, mix.batches - first)) for first in firsts]
    turns = [
        [clients[(first + i) % len(clients)] for i in range(chunk.batches)]
        for first, chunk in zip(firsts, chunks, strict=True)
    ]
    ends: list[int] = []
    expected: list[Expected] = []
    at = 0
    with tempfile.TemporaryFile() as file:
        for requests, accepted in _signed(chunks, turns):
            for request in requests:
                file.write(request)
                at += len(request)
                ends.append(at)
            expected.extend(accepted)
            print(f"\r{len(ends) * mix.batch_size:,} receipts signed ", end="", file=sys.stderr, flush=True)
        file.flush()
        os.fsync(file.fileno())  # so that it is not written back while PostgreSQL is measured
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    print(file=sys.stderr)
    return Corpus(mapped, ends, expected, mix)


def _signed(chunks: list[Mix], turns: list[list[Client]]) -> Iterator[tuple[list[bytes], list[Expected]]]:
    """Sign on all cores, or here where it is little.

    The processes are forked from a server without threads, which has imported what they need.
    """
    if len(chunks) == 1:
        yield _sign_chunk(chunks[0], turns[0])
        return
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["bench.__main__"])
    with ProcessPoolExecutor(os.cpu_count(), context) as processes:
        yield from processes.map(_sign_chunk, chunks, turns)


def _sign_chunk(mix: Mix, clients: list[Client]) -> tuple[list[bytes], list[Expected]]:
    """Sign some batches. A replayed receipt repeats one that stands earlier in its own batch."""
    chance = random.Random(secrets.token_bytes(16))
    requests, expected = [], []
    for client in clients:
        items: list[dict[str, Any]] = []
        bodies: list[bytes] = []
        counts = {"accepted": 0, "invalid_signature": 0, "duplicate_nonce": 0}
        repeated = ""
        for _ in range(mix.batch_size):
            if items and chance.random() < mix.replayed:
                items.append(items[-1])
                bodies.append(bodies[-1])
                counts[repeated] += 1
                continue
            invalid = chance.random() < mix.invalid
            counts["invalid_signature" if invalid else "accepted"] += 1
            repeated = "invalid_signature" if invalid else "duplicate_nonce"
            item, body = _signed_item(client, chance, invalid=invalid)
            items.append(item)
            bodies.append(body)
        requests.append(_request(client.did, items, bodies, compact=mix.compact))
        expected.append(Expected(**counts))
    return requests, expected


def _signed_item(client: Client, chance: random.Random, *, invalid: bool) -> tuple[dict[str, Any], bytes]:
    """Return a signed receipt as it stands in a JSON batch, and as protobuf."""
    item = _item(client, chance)
    [decoded] = _fastverify.decode_json([item])
    signature = nacl.bindings.crypto_sign(decoded.body, client.seed + client.public_key)[:64]
    if invalid:
        signature = signature[:40] + bytes([signature[40] ^ 1]) + signature[41:]
    item["signature"] = signature.hex()
    return item, message_field(1, decoded.body) + bytes_field(2, "ed25519") + bytes_field(3, signature)


def _item(client: Client, chance: random.Random) -> dict[str, Any]:
    now = int(time.time())
    return {
        "receipt": {
            "version": 1,
            "task_id": client.task_id,
            "client_did": client.did,
            "client_node_id": client.public_key.hex(),
            "content_id": chance.randbytes(32).hex(),
            "proof_type": chance.choices(_TYPES, _SHARES)[0],
            "bytes_verified": chance.randrange(1_024, 1_048_576),
            "result_ok": True,
            "started_at": now,
            "finished_at": now,
            "receipt_nonce": chance.randbytes(32).hex(),
            "challenge_nonce": client.challenge_nonce,
        },
        "sig_scheme": "ed25519",
        "signature": "",
    }


def _request(did: str, items: list[dict[str, Any]], bodies: list[bytes], *, compact: bool) -> bytes:
    nonce = secrets.token_bytes(16)
    if compact:
        body = integer_field(1, 1) + bytes_field(2, did) + bytes_field(3, nonce)
        body += b"".join(message_field(4, item) for item in bodies)
    else:
        body = orjson.dumps({"version": 1, "client_did": did, "batch_nonce": nonce.hex(), "receipts": items})
    kind = b"application/x-protobuf" if compact else b"application/json"
    head = b"POST %s/submit HTTP/1.1\r\nHost: bench\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n"
    return head % (API.encode(), kind, len(body)) + body
