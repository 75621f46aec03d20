"""Auditing an epoch's export without any database: signatures, roots, rewards and totals, all computed anew."""

from __future__ import annotations

import json
import lzma
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pouw import _fastverify
from pouw.errors import AuditError, DidError, ManifestError
from pouw.protocol import manifests
from pouw.protocol.canonical import bytes_field, message_field
from pouw.protocol.dids import is_did_key, key_from_did
from pouw.protocol.manifests import RewardLine
from pouw.protocol.merkle import Roots, leaf_hash
from pouw.protocol.rewards import allocate
from pouw.protocol.types import SIG_SCHEME
from pouw.verify import is_valid

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pouw.protocol.manifests import Manifest


_CHUNK_BYTES = 1 << 20
_MOST_LINE_BYTES = 1 << 20  # a receipt has at most some 10,000 bytes


@dataclass(frozen=True, slots=True)
class Report:
    """What an audit found to be right. ``unproven_keys`` counts DIDs whose key only the node's registry knows."""

    manifest: Manifest
    node_id: bytes
    digest: str
    unproven_keys: int


@dataclass(slots=True)
class _Work:
    """What the receipts of an export come to."""

    roots: Roots = field(default_factory=Roots)
    receipts: dict[str, int] = field(default_factory=dict)
    weights: dict[str, int] = field(default_factory=dict)
    keys: dict[str, set[bytes]] = field(default_factory=dict)
    last: tuple[bytes, bytes] = (b"", b"")


def audit(file: Path) -> Report:
    """Check an export; raise :class:`AuditError` that names the first line that is not as it should be, and why."""
    lines = _Lines(file)
    head = lines.next()
    manifest, node_id, digest = _check_head(lines, head)
    work = _Work()
    for _ in range(manifest.receipts):
        _check_receipt(lines, lines.next(), work, manifest)
    if work.roots.root() != manifest.receipts_root:
        raise lines.fault("the receipts' Merkle root is not the manifest's")
    _check_rewards(lines, work, manifest)
    if lines.next() != {"end": {"receipts": manifest.receipts, "rewards": manifest.clients}}:
        raise lines.fault("the last line does not count what the manifest counts")
    lines.expect_end()
    return Report(manifest, node_id, digest, sum(1 for did in work.keys if not is_did_key(did)))


class _Lines:
    """The lines of an export, one after the other, each in its canonical form."""

    def __init__(self, file: Path) -> None:
        self.number = 0
        self._lines = self._read(file)

    def _read(self, file: Path) -> Iterator[bytes]:
        decompressor = lzma.LZMADecompressor(lzma.FORMAT_XZ)
        rest = b""
        try:
            with file.open("rb") as opened:
                while not decompressor.eof:
                    given = opened.read(_CHUNK_BYTES) if decompressor.needs_input else b""
                    if not given and decompressor.needs_input:
                        raise AuditError(f"{file} ends early")
                    *lines, rest = (rest + decompressor.decompress(given, _CHUNK_BYTES)).split(b"\n")
                    yield from lines
                    if len(rest) > _MOST_LINE_BYTES:
                        raise AuditError(f"{file} has a line that is too long")
                if rest or decompressor.unused_data or opened.read(1):
                    raise AuditError(f"{file} goes on after its end")
        except (OSError, lzma.LZMAError) as error:
            raise AuditError(f"{file} cannot be read to its end: {error}") from error

    def next(self) -> Any:
        line = next(self._lines, None)
        self.number += 1
        if line is None:
            raise self.fault("the file ends early")
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise self.fault(f"this is not JSON: {error}") from None
        if manifests.canonical(value) != line:
            raise self.fault("this is not in its canonical form")
        return value

    def expect_end(self) -> None:
        if next(self._lines, None) is not None:
            self.number += 1
            raise self.fault("there is more than the manifest counts")

    def fault(self, text: str) -> AuditError:
        return AuditError(f"line {self.number}: {text}")


def _check_head(lines: _Lines, head: Any) -> tuple[Manifest, bytes, str]:
    try:
        text = manifests.canonical(head["manifest"])
        node_id = bytes.fromhex(head["node_id"])
        manifest = manifests.decode(text)
        manifests.verify(text, node_id, bytes.fromhex(head["signature"]))
    except (KeyError, TypeError, ValueError) as error:
        raise lines.fault(f"this is no manifest with its signature: {error!r}") from None
    except ManifestError as error:
        raise lines.fault(str(error)) from None
    return manifest, node_id, manifests.digest(text)


def _check_receipt(lines: _Lines, value: Any, work: _Work, manifest: Manifest) -> None:
    try:
        body, signature = bytes.fromhex(value["receipt"]), bytes.fromhex(value["signature"])
    except (KeyError, TypeError, ValueError):
        raise lines.fault("this is no receipt with its signature") from None
    message = b"".join((message_field(1, body), bytes_field(2, SIG_SCHEME), bytes_field(3, signature)))
    [receipt] = _fastverify.decode_protobuf([message])
    if receipt.fault is not None or receipt.receipt_nonce is None:
        raise lines.fault(f"the receipt is malformed: {receipt.fault}")
    if not is_valid(receipt.body, receipt.signature, receipt.client_node_id):
        raise lines.fault("the receipt's signature is not valid")
    did = receipt.client_did
    try:
        if is_did_key(did) and key_from_did(did) != receipt.client_node_id:
            raise lines.fault("the receipt was signed by another key than its DID's")
    except DidError as error:
        raise lines.fault(f"the receipt's DID is none: {error}") from None
    place = (receipt.receipt_nonce, did.encode())
    if place <= work.last:
        raise lines.fault("the receipt stands twice, or out of order")
    work.last = place
    work.roots.add(leaf_hash(body + signature))
    work.keys.setdefault(did, set()).add(receipt.client_node_id)
    work.receipts[did] = work.receipts.get(did, 0) + 1
    weight = manifest.rules.weight(receipt.proof_type, result_ok=receipt.result_ok)
    work.weights[did] = work.weights.get(did, 0) + weight


def _check_rewards(lines: _Lines, work: _Work, manifest: Manifest) -> None:
    rules = manifest.rules
    finals = {did: rules.final(weight) for did, weight in work.weights.items()}
    if len(finals) != manifest.clients:
        raise lines.fault(f"{len(finals)} DIDs worked, and the manifest counts {manifest.clients}")
    allocated = allocate(finals, manifest.budget_left)
    roots = Roots()
    for did in sorted(finals, key=str.encode):
        weight = work.weights[did]
        due = RewardLine(did, work.receipts[did], weight, rules.raw(weight), finals[did], allocated[did])
        stated = manifests.canonical(lines.next())
        if stated != due.encode():
            raise lines.fault(f"the reward has to be {due.encode().decode()}")
        roots.add(leaf_hash(stated))
    if roots.root() != manifest.rewards_root:
        raise lines.fault("the rewards' Merkle root is not the manifest's")
    if (sum(finals.values()), sum(allocated.values())) != (manifest.computed, manifest.allocated):
        raise lines.fault("the manifest's totals are not the sums of the rewards")
