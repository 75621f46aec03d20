"""After a run: whether the answers, the database and what the corpus expects agree."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, LiteralString

import orjson
import psycopg

from bench.corpus import Expected
from bench.load import OK

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Sequence

    from bench.corpus import Corpus
    from bench.load import Answer

_MOST_FAULTS = 10
_ACCEPTED, _REJECTED, _DETAIL = 1, 2, 4
_VARINT, _LENGTH, _CONTINUE = 0, 2, 0x80
_BATCHES: LiteralString = (
    "SELECT count(*), coalesce(sum(accepted), 0), coalesce(sum(rejected), 0) FROM batches WHERE submitted_at > %s"
)


@dataclass(slots=True)
class Told:
    """What the answers of a run said, and the nonces of the batches whose answer is not known, as often as sent."""

    accepted: Counter[bytes] = field(default_factory=Counter)
    rejected: Counter[str] = field(default_factory=Counter)
    answered: int = 0
    unknown: Counter[bytes] = field(default_factory=Counter)
    unanswered: int = 0
    faults: list[str] = field(default_factory=list)


def mark(database: str) -> dt.datetime:
    """Return the database's time: what is written later belongs to the next run."""
    with psycopg.connect(database) as connection:
        row = connection.execute("SELECT clock_timestamp()").fetchone()
    assert row is not None
    moment: dt.datetime = row[0]
    return moment


def audit(
    database: str, since: dt.datetime, corpus: Corpus, answers: Sequence[Answer], *, batches: bool = True
) -> dict[str, Any]:
    """Compare a run's answers with the rows since ``since``; nobody else may submit meanwhile.

    An answer other than 200 says nothing of the commit, so rows of such a batch are neither missed nor too many.
    ``batches`` is whether the site has the tables ``batches`` and ``rejections``.
    """
    told = listen(corpus, answers)
    with psycopg.connect(database) as connection:
        rows = connection.execute("SELECT receipt_nonce FROM receipts WHERE submitted_at > %s", (since,), binary=True)
        stored = Counter(row[0] for row in rows)
        faults = [*told.faults, *_compare(told, stored)]
        if batches:
            faults += _compare_batches(connection, since, told)
    return {
        "ok": not faults,
        "faults": faults[:_MOST_FAULTS],
        "accepted": told.accepted.total(),
        "rejected": dict(told.rejected),
        "rows": stored.total(),
        "unanswered": told.unanswered,
    }


def listen(corpus: Corpus, answers: Sequence[Answer]) -> Told:
    """Read the answers, and compare each with what the corpus expects."""
    told = Told()
    for answer in answers:
        if answer.status != OK:
            told.unanswered += 1
            told.unknown.update(corpus.receipt_nonces(answer.index))
            continue
        accepted, details = _read_protobuf(answer.body) if corpus.mix.compact else _read_json(answer.body)
        told.answered += 1
        told.accepted.update(accepted)
        told.rejected.update(details)
        counts = Counter(details)
        got = Expected(len(accepted), counts.pop("invalid_signature", 0), counts.pop("duplicate_nonce", 0))
        if got != corpus.expected[answer.index] or counts:
            wanted = corpus.expected[answer.index]
            told.faults.append(f"answer {answer.index} is {got} {dict(counts)} where {wanted} is right")
    return told


def _compare(told: Told, stored: Counter[bytes]) -> list[str]:
    faults = []
    twice = [nonce for nonce, count in told.accepted.items() if count > 1]
    doubled = [nonce for nonce, count in stored.items() if count > 1]
    lost = [nonce for nonce in told.accepted if nonce not in stored]
    strange = [nonce for nonce in stored if nonce not in told.accepted and nonce not in told.unknown]
    for what, nonces in (
        ("accepted twice", twice),
        ("stored twice", doubled),
        ("accepted and not stored", lost),
        ("stored and never accepted", strange),
    ):
        if nonces:
            faults.append(f"{len(nonces)} receipts are {what}, such as {nonces[0].hex()}")
    return faults


def _compare_batches(connection: psycopg.Connection[Any], since: dt.datetime, told: Told) -> list[str]:
    """Compare the rows of batches and rejections; those of unanswered batches are not known, and told by a bound."""
    row = connection.execute(_BATCHES, (since,)).fetchone()
    assert row is not None
    kept = dict(
        connection.execute(
            "SELECT detail, count(*) FROM rejections WHERE submitted_at > %s GROUP BY detail", (since,)
        ).fetchall()
    )
    facts = [
        ("batches", row[0], told.answered, told.unanswered),
        ("accepted receipts by the table batches", row[1], told.accepted.total(), told.unknown.total()),
        ("rejected receipts by the table batches", row[2], told.rejected.total(), told.unknown.total()),
    ]
    facts += [
        (f"rejections with {detail}", kept.get(detail, 0), told.rejected[detail], told.unknown.total())
        for detail in sorted(kept.keys() | told.rejected.keys())
    ]
    return [
        f"{what}: {found} in the database, {said} in the answers"
        for what, found, said, room in facts
        if not said <= found <= said + room
    ]


def _read_json(body: bytes) -> tuple[list[bytes], list[str]]:
    answer = orjson.loads(body)
    return [bytes.fromhex(nonce) for nonce in answer["accepted"]], [each["detail"] for each in answer["rejected"]]


def _read_protobuf(body: bytes) -> tuple[list[bytes], list[str]]:
    fields = _fields(body)
    accepted = [value for number, value in fields if number == _ACCEPTED]
    rejected = [dict(_fields(value)) for number, value in fields if number == _REJECTED]
    return accepted, [each[_DETAIL].decode() for each in rejected]


def _fields(body: bytes) -> list[tuple[int, bytes]]:
    """Return the length-delimited fields of a protobuf message."""
    fields, at = [], 0
    while at < len(body):
        tag, at = _varint(body, at)
        value, at = _varint(body, at)
        if tag & 7 == _LENGTH:
            fields.append((tag >> 3, body[at : at + value]))
            at += value
        elif tag & 7 != _VARINT:
            raise ValueError(f"wire type {tag & 7} in an answer")
    return fields


def _varint(body: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = body[at]
        value |= (byte & ~_CONTINUE) << shift
        at, shift = at + 1, shift + 7
        if not byte & _CONTINUE:
            return value, at
