"""An epoch as a file that strangers can check: JSON Lines, compressed with xz (each of whose bits its checks cover).

The first line holds the manifest and its signature; then one line for each receipt, in the tree's order, with the
signed bytes and the signature in hex; then one for each reward, in the order of the DIDs; the last line counts both.
Reading holds one line at a time, so an epoch of any size can be exported and audited.
"""

from __future__ import annotations

import json
import lzma
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from pouw.errors import EpochError
from pouw.protocol.manifests import RewardLine, canonical
from pouw.store import epochs as store
from pouw.store import trees
from pouw.store.pool import session

if TYPE_CHECKING:
    from pouw.store.pool import Pool

SIGNATURE_BYTES = 64


def export(pool: Pool, epoch: int, out: Path) -> tuple[int, int]:
    """Write a closed epoch to a new file; return how many receipts and rewards it has.

    The file appears as a whole or not at all. Raises :class:`EpochError` where the epoch is not closed, its receipts
    were archived, or the file exists or cannot be written.
    """
    row = store.find(pool, epoch)
    if row is None:
        raise EpochError(f"Epoch {epoch} is not closed.")
    if out.exists():
        raise EpochError(f"{out} exists: an export is never overwritten.")
    try:
        descriptor, name = tempfile.mkstemp(prefix=f".{out.name}.", dir=out.parent)
        try:
            with os.fdopen(descriptor, "wb") as raw, lzma.open(raw, "wb", check=lzma.CHECK_SHA256, preset=0) as file:
                counts = _write(pool, row, file)
            manifest = json.loads(row.manifest)
            if counts != (manifest["receipts"], manifest["clients"]):
                raise EpochError(f"Epoch {epoch} has receipts that were archived: export it from the archive.")
            os.link(name, out)
        finally:
            Path(name).unlink()
    except OSError as error:
        raise EpochError(f"{out} cannot be written: {error.strerror}") from error
    return counts


def _write(pool: Pool, row: store.EpochRow, file: lzma.LZMAFile) -> tuple[int, int]:
    manifest = json.loads(row.manifest)
    head = {"manifest": manifest, "node_id": row.node_id.hex(), "signature": row.signature.hex()}
    file.write(canonical(head) + b"\n")
    receipts = rewards = 0
    with session(pool) as connection, connection.transaction():
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        for found in trees.receipts(connection, (manifest["starts_at"], manifest["ends_at"])):
            entry = found[1 : -trees.PREFIX_BYTES]
            body, signature = entry[:-SIGNATURE_BYTES], entry[-SIGNATURE_BYTES:]
            file.write(canonical({"receipt": body.hex(), "signature": signature.hex()}) + b"\n")
            receipts += 1
        for values in store.reward_lines(connection, row.epoch):
            file.write(RewardLine(*values).encode() + b"\n")
            rewards += 1
    file.write(canonical({"end": {"receipts": receipts, "rewards": rewards}}) + b"\n")
    return receipts, rewards
