"""The statements of submitted batches: what is known before they are judged, and what is written after.

Both are functions of the database, in ``migrations``: one round trip each, for any number of batches.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, LiteralString, NamedTuple

from pouw._fastverify import pack_claims
from pouw.errors import BatchConflict, VerdictGone
from pouw.store.arrays import Array, Bool, Bytea, Int2, Int4, Int8, Text
from pouw.store.challenges import Challenge

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from psycopg import Connection
    from psycopg.rows import TupleRow

    from pouw._fastverify import Claim
    from pouw.protocol.verdicts import Rejection
    from pouw.store.epochs import Calendar

_FIXED_NUMBERS = 8
_PREFIX_BYTES = 20
_SETTLE: LiteralString = f"SELECT settle_claims(%s::bigint, %s::integer, {', '.join(['%b'] * 26)})"


class BatchKey(NamedTuple):
    """What identifies a batch: its DID, the nonce that the client gave it, if any, and its content."""

    client_did: str
    batch_nonce: bytes | None
    digest: bytes


class Question(NamedTuple):
    """A batch, and the challenge nonces and nonce keys that its receipts name."""

    key: BatchKey
    challenge_nonces: Sequence[bytes]
    nonce_keys: Sequence[bytes]


@dataclass(frozen=True, slots=True)
class Identity:
    """A DID's live key. ``age`` is in seconds."""

    public_key: bytes
    age: float


class Used(NamedTuple):
    """How much of a challenge's budget is spent."""

    receipts: int
    bytes: int


@dataclass(slots=True)
class Known:
    """What the database knows before a batch is judged.

    ``used`` holds the challenges that can still be spent, and ``taken`` the keys of nonces that were credited: of all
    that the batch names, or of ``only_nonce``, where no other was looked up.
    """

    first: tuple[bytes, bytes | None] | None = None
    challenges: dict[bytes, Challenge] = field(default_factory=dict)
    used: dict[bytes, Used] = field(default_factory=dict)
    taken: set[bytes] = field(default_factory=set)
    only_nonce: bytes | None = None
    blocked: bool = False
    identity: Identity | None = None

    def first_answer(self, key: BatchKey) -> bytes | None:
        """Return the batch's first answer, if it was answered.

        Raises :class:`BatchConflict` where its nonce was used for another content, and :class:`VerdictGone`.
        """
        if self.first is None:
            return None
        digest, answer = self.first
        if digest != key.digest:
            raise BatchConflict("This batch nonce was used for a batch with other content.")
        if answer is None:
            raise VerdictGone("This batch was answered, and its verdict is not kept any more.")
        return answer


class Outcome(NamedTuple):
    """What a batch comes to once the database's state is known. ``spent`` is by challenge."""

    credited: Sequence[Claim]
    rejected: Sequence[Rejection]
    spent: dict[bytes, Used]
    answer: bytes


class Settlement(NamedTuple):
    """A batch that is decided. ``proven``: its DID sent it, because nobody else could have made one of its receipts."""

    key: BatchKey
    proven: bool
    outcome: Outcome


def nonce_keys(client_did: str, receipt_nonces: Iterable[bytes]) -> list[bytes]:
    """Return for each nonce the bytes under which it is claimed: 20 that stand for the DID, then the nonce.

    The 20 are the first of the DID's SHA-256, so that no two DIDs share a key, and those of a DID stand together in the
    index: a batch's go to a few of its pages instead of to one each.
    """
    prefix = hashlib.sha256(client_did.encode()).digest()[:_PREFIX_BYTES]
    return [prefix + nonce for nonce in receipt_nonces]


def look_up(connection: Connection[TupleRow], questions: Sequence[Question]) -> list[Known]:
    """Read what judging these batches needs."""
    rows = connection.execute(
        "SELECT kind, place, key, value, did, number, numbers FROM look_up_claims(%b, %b, %b, %b, %b)",
        (
            Text([question.key.client_did for question in questions]),
            Bytea([question.key.batch_nonce for question in questions]),
            Bytea([question.key.digest for question in questions]),
            Bytea([nonce for question in questions for nonce in question.challenge_nonces]),
            Bytea([key for question in questions for key in question.nonce_keys]),
        ),
        binary=True,
    ).fetchall()
    shared = Known()
    own = [Known(challenges=shared.challenges, used=shared.used, taken=shared.taken) for _ in questions]
    for kind, place, key, value, did, number, numbers in rows:
        if kind == "taken":
            shared.taken.add(key)
        elif kind == "challenge":
            _note_challenge(shared, key, value, did, numbers)
        elif kind == "answer":
            own[place - 1].first = key, value
        elif kind == "blocked":
            own[place - 1].blocked = True
        else:
            own[place - 1].identity = Identity(key, number)
    return own


def _note_challenge(known: Known, nonce: bytes, task_id: bytes, bound_did: str | None, numbers: list[int]) -> None:
    issued, expires, receipts, size, least, receipts_used, bytes_used, live = numbers[:_FIXED_NUMBERS]
    allowed = frozenset(numbers[_FIXED_NUMBERS:])
    known.challenges[nonce] = Challenge(nonce, task_id, bound_did, issued, expires, receipts, size, least, allowed)
    if live:
        known.used[nonce] = Used(receipts_used, bytes_used)


def lock(connection: Connection[TupleRow], question: Question) -> None:
    """Hold off whoever could settle this batch, or spend its challenges, until the transaction ends."""
    key = question.key
    if key.batch_nonce is not None:
        connection.execute(
            "SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", (f"{key.client_did} {key.batch_nonce.hex()}",)
        )
    connection.execute(
        "SELECT FROM challenges WHERE nonce = ANY(%b) ORDER BY nonce FOR UPDATE", (list(question.challenge_nonces),)
    )


def settle(connection: Connection[TupleRow], calendar: Calendar, settlements: Sequence[Settlement]) -> str:
    """Write batches if what they were judged by still holds; return what ``settle_claims`` says."""
    row = connection.execute(
        _SETTLE,
        (
            calendar.genesis,
            calendar.epoch_secs,
            *_batch_columns(settlements),
            *_spent_columns(settlements),
            *_receipt_columns(settlements),
            *_rejection_columns(settlements),
        ),
    ).fetchone()
    assert row is not None  # noqa: S101 - a function has a result
    return str(row[0])


def _batch_columns(settlements: Sequence[Settlement]) -> tuple[Array, ...]:
    return (
        Text([each.key.client_did for each in settlements]),
        Bytea([each.key.batch_nonce for each in settlements]),
        Bytea([each.key.digest for each in settlements]),
        Bool([each.proven for each in settlements]),
        Int4([len(each.outcome.credited) for each in settlements]),
        Int4([len(each.outcome.rejected) for each in settlements]),
        Bytea([None if each.key.batch_nonce is None else each.outcome.answer for each in settlements]),
    )


def _spent_columns(settlements: Sequence[Settlement]) -> tuple[Array, ...]:
    receipts: dict[bytes, int] = {}
    size: dict[bytes, int] = {}
    for settlement in settlements:
        for nonce, used in settlement.outcome.spent.items():
            receipts[nonce] = receipts.get(nonce, 0) + used.receipts
            size[nonce] = size.get(nonce, 0) + used.bytes
    return Bytea(list(receipts)), Int8(list(receipts.values())), Int8(list(size.values()))


def _receipt_columns(settlements: Sequence[Settlement]) -> tuple[Array, ...]:
    """Return nonces by their keys, in whose order they are locked, and then receipts in the batches' order."""
    places: list[int] = []
    claims: list[Claim] = []
    for place, settlement in enumerate(settlements, 1):
        places += [place] * len(settlement.outcome.credited)
        claims += settlement.outcome.credited
    kinds = (Bytea, Int8, Bytea, Bytea, Int2, Int8, Bool, Bytea, Bytea)
    keys, expiries, *columns = [kind.of_packed(column) for kind, column in zip(kinds, pack_claims(claims), strict=True)]
    return (keys, expiries, Int4(places), *columns)


def _rejection_columns(settlements: Sequence[Settlement]) -> tuple[Array, ...]:
    places = [place for place, settlement in enumerate(settlements, 1) for _ in settlement.outcome.rejected]
    rejected = [each for settlement in settlements for each in settlement.outcome.rejected]
    return (
        Int4(places),
        Int4([each.index for each in rejected]),
        Bytea([each.receipt_nonce for each in rejected]),
        Text([each.detail.reason.value for each in rejected]),
        Text([each.detail.value for each in rejected]),
        Text([each.fault for each in rejected]),
    )
