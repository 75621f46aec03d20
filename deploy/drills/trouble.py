"""Drills in which nothing dies: bad signatures, wrong clocks, a stolen key, a backlog of epochs."""

from __future__ import annotations

import secrets
import threading
import time

from deploy.drills.load import Load, Worker
from deploy.drills.outcome import Outcome, outcome
from deploy.drills.site import Site, metric, new_key
from pouw.client.receipts import SignedReceipt, encode_batch

_QUIET_SECS = 4.0
_DRIFT_SECS = 3_600
_NEAR_SECS = 60
_EPOCH_SECS, _BACKLOG_SECS = 2, 1_000
_LEAST_CLOSED = 450  # of 500, less those that settle


def bad_signatures() -> Outcome:
    """Let strangers send full batches of wrong signatures as fast as they can, beside honest clients."""
    with Site() as site:
        node = site.node().start()
        sent: list[int] = []
        ending = threading.Event()

        def attack() -> None:
            stranger = Worker([node.url], 100)
            token = stranger.nodes.challenge().token
            good = stranger.attest(token)
            bad = [SignedReceipt(each.receipt, secrets.token_bytes(32) + bytes(32)) for each in good]
            while not ending.is_set():
                verdict = stranger.nodes.submit(encode_batch(stranger.did, secrets.token_bytes(16), bad))
                sent.append(len(verdict.rejected))
                if verdict.accepted:
                    stranger.faults.append("a wrong signature was accepted")

        with Load([node.url]) as load:
            began = time.monotonic()
            time.sleep(_QUIET_SECS)
            quiet, answers = load.slowest_secs(), sum(len(each.answers) for each in load.workers)
            attackers = [threading.Thread(target=attack) for _ in range(4)]
            for each in attackers:
                each.start()
            time.sleep(_QUIET_SECS)
            during = sum(len(each.answers) for each in load.workers) - answers
            ending.set()
            for each in attackers:
                each.join()
            load.wait_answers(30)
            away = load.away_secs(began)
        found = load.check(site.database_url)
    did = f"Four strangers sent {sum(sent):,} wrong signatures in {_QUIET_SECS:g} s beside four honest clients."
    return outcome(
        "bad-signatures", did, away, 2, found,
        honest_batches_before_and_during=f"{answers}, {during}",
        slowest_honest_answer_before_and_in_all=f"{quiet:.2f} s, {load.slowest_secs():.2f} s",
    )  # fmt: skip


def clock_drift() -> Outcome:
    """Start a second node whose clock is an hour ahead (libfaketime): its challenges are not the other one's."""
    with Site() as site:
        right = site.node().start()
        wrong = site.node(wrapper=["faketime", "-f", f"+{_DRIFT_SECS}"]).start()
        with Load([right.url]) as load:
            began = time.monotonic()
            offset = _offset(wrong.metrics_port)
            seen = time.monotonic() - began
            stray = Worker([wrong.url], 5)
            stray.once()
            refused = "accepted" if not stray.faults else stray.faults[0].split(": ")[-1]
            wrong.stop()
            load.wait_answers(30)
            away = load.away_secs(began)
        found = load.check(site.database_url)
        if abs(offset + _DRIFT_SECS) > _NEAR_SECS:
            found.faults.append(f"the node with the wrong clock shows an offset of {offset:g} s")
    did = f"A second node ran with a clock that was {_DRIFT_SECS} s ahead of the database's."
    return outcome(
        "clock-drift", did, away, 2, found,
        metric_showed_it_after=f"{seen:.1f} s", receipts_by_the_wrong_node=refused,
    )  # fmt: skip


def key_compromised() -> Outcome:
    """Bring a new node key in and retire the stolen one at once, with no restart."""
    with Site() as site:
        ring = site.folder / "keys"
        ring.write_text(new_key() + "\n")
        ring.chmod(0o600)
        node = site.node(node_secret_key_file=ring)
        del node.environ["POUW_NODE_SECRET_KEY"]
        node.start()
        with Load([node.url]) as load:
            [stolen] = _keys(node.pouw("key", "list"), "active")
            found_out = time.monotonic()
            new = node.pouw("key", "create", "--ring", str(ring)).strip()
            load.wait(lambda: new in _keys(node.pouw("key", "list"), "staged"), 30)
            node.pouw("key", "activate", new)
            node.pouw("key", "retire", "--compromised", stolen)
            load.wait(lambda: {each.nodes.challenge().token.node_id.hex() for each in load.workers} == {new}, 30)
            took = time.monotonic() - found_out
            load.wait_answers(30)
            away = load.away_secs(found_out)
        found = load.check(site.database_url)
    did = "The node's key was declared stolen under load: a new one was made and activated, the old one retired."
    return outcome("key-compromised", did, away, 10, found, only_the_new_key_signed_after=f"{took:.1f} s")


def reward_backlog() -> Outcome:
    """Let epochs of some seconds pass without any ``pouw worker``, and see how soon one has closed them all."""
    with Site() as site:
        node = site.node(epoch_secs=_EPOCH_SECS, epoch_genesis=int(time.time()) - _BACKLOG_SECS).start()
        with Load([node.url]) as load:
            began = time.monotonic()
            time.sleep(_QUIET_SECS)
            started = time.monotonic()
            node.pouw("worker", "--once")
            took = time.monotonic() - started
            closed = len(node.pouw("epoch", "list", "--limit", "10000").splitlines())
            load.wait_answers(30)
            away = load.away_secs(began)
        found = load.check(site.database_url)
        if closed < _LEAST_CLOSED:
            found.faults.append(f"only {closed} epochs were closed")
    did = "500 epochs passed without any `pouw worker`; then one ran once, under load."
    return outcome("reward-backlog", did, away, 5, found, closed=closed, in_secs=f"{took:.1f}")


def _keys(listed: str, state: str) -> list[str]:
    return [line.split()[0] for line in listed.splitlines() if len(line.split()) > 1 and line.split()[1] == state]


def _offset(port: int) -> float:
    """Wait until a node shows how far the database's clock is from its own, and return it in seconds."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        found = metric(port, "pouw_clock_offset_seconds")
        if found:
            return found
        time.sleep(0.2)
    return 0.0
