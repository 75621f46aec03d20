"""The event loop goes on while a worker verifies: large batches on threads, usual ones between others' turns."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

# Runs in a process of its own, because gevent has to patch before anything else is imported.
PROGRAM = """
from gevent import monkey; monkey.patch_all()
import json, secrets, time, gevent
from pouw import _fastverify
from pouw.verify import Verifier
from tests.support import Identity
from pouw.protocol.types import ChallengeToken, Policy

client = Identity()
token = ChallengeToken(b"n" * 32, b"t" * 16, b"c" * 32, 0, 1, Policy(1, 1, 1, ()))
items = client.items(token, SIZE)
for item in items[: round(FORGED * SIZE)]:
    item["signature"] = item["signature"][:80] + "0" * 48
receipts = _fastverify.decode_json(items)
verifier = Verifier(2)
ticks, done = [], []

def tick():
    last = time.perf_counter()
    while not done:
        gevent.sleep(0.001)
        now = time.perf_counter()
        ticks.append(now - last)
        last = now

ticker = gevent.spawn(tick)
def job():
    answers = []
    for _ in range(int(40_000 // SIZE * (1 - FORGED * 0.9))):
        answers.append(verifier.verify(receipts, client.public_key))
        gevent.sleep(0.001)  # as a request waits for the database
    return answers

jobs = [gevent.spawn(job) for _ in range(2)]
gevent.joinall(jobs, raise_error=True)
done.append(1); ticker.join()
counts = {sum(batch) for job in jobs for batch in job.value}
print(json.dumps({"ticks": ticks, "valid": counts == {SIZE - round(FORGED * SIZE)}}))
"""


def run(program: str, size: int, forged: float = 0) -> dict[str, list[float]]:
    program = f"SIZE, FORGED = {size}, {forged}\n{program}"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    result: dict[str, list[float]] = json.loads(done.stdout)
    assert result["valid"]
    return result


@pytest.mark.parametrize(("size", "forged"), [(100, 0.0), (100, 0.5), (100, 1.0), (1_000, 0.0)])
def test_a_ticker_beside_full_batches_never_stalls_for_20_ms(size: int, forged: float) -> None:
    """One run of three is enough: another process may have had the cores in the others."""
    worst: list[float] = []
    while len(worst) < 3 and min(worst, default=1.0) >= 0.020:
        result = run(PROGRAM, size, forged)
        assert len(result["ticks"]) > 30, "the ticker hardly ran"
        worst.append(max(result["ticks"]))
    assert min(worst) < 0.020, worst


def test_verification_inline_would_stall_the_ticker() -> None:
    """The test above can fail: verified on the loop itself, the same batches leave no room to tick."""
    inline = PROGRAM.replace(
        "verifier.verify(receipts, client.public_key)",
        "_fastverify.verify([r.body for r in receipts] * 200, [r.signature for r in receipts] * 200, key)[:SIZE]",
    ).replace("verifier = Verifier(2)", "key = _fastverify.PublicKey(client.public_key)")
    inline = inline.replace("40_000 // SIZE", "4")
    assert max(run(inline, 100)["ticks"]) > 0.020
