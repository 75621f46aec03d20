"""Batches that are signed before anything is measured, and what a right answer to each of them is."""

from __future__ import annotations

import base64
import json
import mmap
import os
import random
import secrets
import tempfile
import time
import urllib.request
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import nacl.bindings
import orjson
from nacl.signing import SigningKey

from pouw import _fastverify
from pouw.protocol.canonical import bytes_field, integer_field, message_field
from pouw.protocol.dids import did_from_key

if TYPE_CHECKING:
    from collections.abc import Sequence

API = "/api/v1/pouw"
_CHUNK = 200


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
    did: str
    task_id: str
    challenge_nonce: str


class Corpus:
    """HTTP requests in a file that is mapped, not held; ``expected[n]`` is how many receipts of the nth are accepted."""

    def __init__(self, mapped: mmap.mmap | bytes, ends: list[int], expected: list[int], receipts: int) -> None:
        self._view = memoryview(mapped)
        self._ends = ends
        self.expected = expected
        self.receipts = receipts

    def __len__(self) -> int:
        return len(self._ends)

    def __getitem__(self, index: int) -> memoryview:
        return self._view[self._ends[index - 1] if index else 0 : self._ends[index]]


def make_clients(base: str, count: int) -> list[Client]:
    """Make keys and ask for a challenge for each."""
    clients = []
    for _ in range(count):
        seed = secrets.token_bytes(32)
        with urllib.request.urlopen(f"{base}{API}/challenge") as answer:
            token = json.loads(base64.b64decode(json.loads(answer.read())["token"]))
        did = did_from_key(bytes(SigningKey(seed).verify_key))
        clients.append(Client(seed, did, token["task_id"], token["challenge_nonce"]))
    return clients


def sign(clients: Sequence[Client], mix: Mix) -> Corpus:
    """Sign a corpus on all cores; every receipt is new, but for the share that is replayed."""
    chunks = [replace(mix, batches=min(_CHUNK, mix.batches - first)) for first in range(0, mix.batches, _CHUNK)]
    turns = [
        [clients[(first * _CHUNK + i) % len(clients)] for i in range(chunk.batches)]
        for first, chunk in enumerate(chunks)
    ]
    ends: list[int] = []
    expected: list[int] = []
    at = 0
    with tempfile.TemporaryFile() as file, ProcessPoolExecutor(os.cpu_count()) as processes:
        for requests, accepted in processes.map(_sign_chunk, chunks, turns):
            for request in requests:
                file.write(request)
                at += len(request)
                ends.append(at)
            expected.extend(accepted)
        file.flush()
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    return Corpus(mapped, ends, expected, mix.batches * mix.batch_size)


def _sign_chunk(mix: Mix, clients: list[Client]) -> tuple[list[bytes], list[int]]:
    """Sign some batches. A replayed receipt repeats one that stands earlier in its own batch."""
    chance = random.Random(secrets.token_bytes(16))
    requests, expected = [], []
    for client in clients:
        secret = client.seed + bytes(SigningKey(client.seed).verify_key)
        items: list[dict[str, Any]] = []
        bodies: list[bytes] = []
        accepted = 0
        for _ in range(mix.batch_size):
            if items and chance.random() < mix.replayed:
                items.append(items[-1])
                bodies.append(bodies[-1])
                continue
            item = _item(client, chance)
            [decoded] = _fastverify.decode_json([item])
            signature = nacl.bindings.crypto_sign(decoded.body, secret)[:64]
            if chance.random() < mix.invalid:
                signature = signature[:40] + bytes([signature[40] ^ 1]) + signature[41:]
            else:
                accepted += 1
            item["signature"] = signature.hex()
            items.append(item)
            bodies.append(message_field(1, decoded.body) + bytes_field(2, "ed25519") + bytes_field(3, signature))
        requests.append(_request(client.did, items, bodies, compact=mix.compact))
        expected.append(accepted)
    return requests, expected


def _item(client: Client, chance: random.Random) -> dict[str, Any]:
    now = int(time.time())
    return {
        "receipt": {
            "version": 1,
            "task_id": client.task_id,
            "client_did": client.did,
            "client_node_id": bytes(SigningKey(client.seed).verify_key).hex(),
            "content_id": chance.randbytes(32).hex(),
            "proof_type": chance.choices(("hash", "merkle", "signature"), (60, 30, 10))[0],
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
