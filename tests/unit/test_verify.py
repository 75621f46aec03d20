"""The verifier's threads: each receipt gets its own answer, however a batch is split up."""

from __future__ import annotations

import gevent
import pytest
from nacl.signing import SigningKey

from pouw import _fastverify
from pouw.verify import Verifier
from tests.support import Identity


@pytest.fixture(scope="module")
def receipts() -> tuple[list[_fastverify.SignedReceipt], bytes]:
    client = Identity()
    items = []
    for index in range(100):
        item = RECEIPT | {
            "client_did": client.did, "client_node_id": client.public_key.hex(), "receipt_nonce": f"{index:032x}",
        }  # fmt: skip
        [decoded] = _fastverify.decode_json([{"receipt": item, "sig_scheme": "ed25519", "signature": "00" * 64}])
        signer = SigningKey.generate() if index in WRONG else client.key
        signature = signer.sign(decoded.body).signature.hex()
        items.append({"receipt": item, "sig_scheme": "ed25519", "signature": signature})
    return _fastverify.decode_json(items), client.public_key


WRONG = {0, 33, 34, 66, 99}
RECEIPT = {
    "version": 1, "task_id": "ab" * 16, "content_id": "cd" * 32, "proof_type": "hash", "bytes_verified": 4096,
    "result_ok": True, "started_at": 5, "finished_at": 6, "challenge_nonce": "ef" * 16,
}  # fmt: skip


@pytest.mark.parametrize("threads", [1, 2, 3, 7])
@pytest.mark.parametrize("count", [1, 3, 4, 31, 100])
def test_every_receipt_gets_its_own_answer(
    receipts: tuple[list[_fastverify.SignedReceipt], bytes], threads: int, count: int
) -> None:
    signed, key = receipts
    verifier = Verifier(threads)
    expected = [index not in WRONG for index in range(count)]
    assert verifier.verify(signed[:count], key) == expected
    several = [gevent.spawn(verifier.verify, signed[:count], key) for _ in range(4)]
    gevent.joinall(several, timeout=20)
    assert [each.value for each in several] == [expected] * 4
    verifier.close()
