"""Where fuzzing starts: the published vectors as bodies, as items and as texts."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from tests.fuzz import model
from tools.make_vectors import PATH

if TYPE_CHECKING:
    from pathlib import Path

_SPARE = b"\xab" * 64
_TEXTS = (
    b"",
    b"[]",
    b'"\\"',
    b'"\\',
    b"[1.5e3, -12345678901234567890, {}]",
    b'{"a": {"a": 1}, "\\u0062": [null, true]}',
)


def seeds() -> dict[str, list[bytes]]:
    """Return the first inputs of each target."""
    vectors = json.loads(PATH.read_text())
    values = [_item(vector) for vector in vectors["receipts"] + vectors["malformed"]]
    did = vectors["client"]["did"]
    jsons = [_json_batch(did, [value]) for value in values]
    items = [model.wrap(model.item_from_json(_item(vector))) for vector in vectors["receipts"]]
    groups = [[item] for item in items] + [items[:3], items[:5]]
    batches = [model.encode_batch(1, did.encode(), bytes(16), group) for group in groups]
    texts = [*jsons[:3], *_TEXTS, *(json.dumps(value["receipt"], indent=1).encode() for value in values[-5:])]
    return {
        "json": [*jsons, _json_batch(did, values[:3])], "batch": batches, "receipt": items, "scan": texts,
        "signatures": [bytes(32 + 64 * count) for count in (1, 2, 3, 4, 5, 8)],
    }  # fmt: skip


def _item(vector: dict[str, Any]) -> dict[str, Any]:
    signature = vector.get("signature", _SPARE.hex())
    return {"receipt": vector["receipt"], "sig_scheme": "ed25519", "signature": signature}


def _json_batch(did: str, values: list[dict[str, Any]]) -> bytes:
    batch = {"version": 1, "client_did": did, "batch_nonce": "0f" * 16, "receipts": values}
    return json.dumps(batch, separators=(",", ":")).encode()


def write(target: str, folder: Path) -> None:
    """Write the seeds of a target, one to a file."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(seeds().get(target, [])):
        (folder / f"seed-{number:02}").write_bytes(seed)


def words() -> str:
    """Return a dictionary for the fuzzer: the names in the vectors and the tags of the messages."""
    vectors = json.loads(PATH.read_text())
    names = {name for vector in vectors["receipts"] for name in vector["receipt"]}
    names |= {"receipts", "receipt", "sig_scheme", "signature", "merkle_root", "proof_digest", "context"}
    quoted = [f'"\\"{name}\\":"' for name in sorted(names)]
    tags = [f'"\\x{number << 3 | kind:02x}"' for number in range(1, 15) for kind in (0, 2)]
    return "\n".join([*quoted, *tags]) + "\n"
