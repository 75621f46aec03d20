"""The ledger: batches looked up and settled, each exactly once, several with one round trip and one commit.

A batch is judged by what was read before, without a lock, and written only if that still holds. A group that cannot be
written is tried in halves, so that only the batch that was in the way, such as one that was answered meanwhile, is
settled alone: under locks, judged anew.

Of a batch's nonces only the first is read before: the unique index tells of the others when they are written, and
hardly ever has something to tell. Where it had, a worker reads all of them before for a minute.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import gevent
import psycopg

from pouw.errors import EpochClosed, StoreError, StoreUnavailable
from pouw.gather import Gather
from pouw.store import submissions
from pouw.store.partitions import make_partitions
from pouw.store.pool import session
from pouw.store.submissions import Question, Settlement

if TYPE_CHECKING:
    from collections.abc import Callable

    from pouw.store.epochs import Calendar
    from pouw.store.pool import Pool
    from pouw.store.submissions import Known, Outcome

_ATTEMPTS = 5
_AT_ONCE = 32
_LANES = 1
_CAREFUL_SECS = 60

_RACES = (
    psycopg.errors.UniqueViolation,
    psycopg.errors.DeadlockDetected,
    psycopg.errors.SerializationFailure,
)
"""What another batch's commit can cause. The next attempt sees that commit."""


class Ledger:
    """Looks batches up and settles them, together with those that other greenlets bring at the same time."""

    def __init__(
        self, pool: Pool, calendar: Callable[[], Calendar], *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._pool = pool
        self._calendar = calendar
        self._clock = clock
        self._careful_until = clock()
        self._questions = Gather(self._look_up, most=_AT_ONCE, lanes=_LANES)
        self._settlements = Gather(self._settle_together, most=_AT_ONCE, lanes=_LANES)

    def look_up(self, question: Question) -> Known:
        """Read what judging a batch needs, without a lock; of its nonces the first, or all after a collision."""
        if self._clock() < self._careful_until or not question.nonce_keys[1:]:
            return self._questions.ask(question)
        known = self._questions.ask(question._replace(nonce_keys=question.nonce_keys[:1]))
        known.only_nonce = question.nonce_keys[0]
        return known

    def look_up_nonces(self, question: Question, known: Known) -> None:
        """Read of all of a batch's nonces whether they are taken."""
        key = question.key._replace(batch_nonce=None)
        known.taken = self._questions.ask(question._replace(key=key, challenge_nonces=())).taken
        known.only_nonce = None

    def settle(
        self, question: Question, known: Known, *, proven: bool, decide: Callable[[Known], Outcome]
    ) -> tuple[bytes, Outcome | None]:
        """Decide a batch and commit it; return the answer, and the outcome unless another request settled it first.

        ``decide`` may be called again with newer knowledge. Raises :class:`pouw.errors.BatchConflict` where this DID
        used the batch nonce for another content, and :class:`StoreUnavailable` where the database is out of reach:
        then nothing is known of the commit, and the client has to ask again.
        """
        outcome = decide(known)
        settled = self._settlements.ask(Settlement(question.key, proven, outcome))
        if isinstance(settled, StoreError):
            raise settled
        if settled:
            return outcome.answer, outcome
        for _ in range(_ATTEMPTS):
            try:
                return self._settle_alone(question, proven=proven, decide=decide)
            except StoreError as error:
                if not self._mend(error):
                    raise
        raise StoreUnavailable("The database is too contended to settle this batch.")

    def _look_up(self, questions: list[Question]) -> list[Known]:
        with session(self._pool) as connection:
            return submissions.look_up(connection, questions)

    def _settle_together(self, settlements: list[Settlement]) -> list[bool | StoreError]:
        """Settle these batches, and tell of each whether it is; those that collide with one before them are not."""
        fits = _apart(settlements)
        settled = iter(self._settle_group([each for each, fit in zip(settlements, fits, strict=True) if fit]))
        return [fit and next(settled) for fit in fits]

    def _settle_group(self, group: list[Settlement]) -> list[bool | StoreError]:
        """Settle these batches in one transaction, or where something is in the way both halves at the same time."""
        try:
            settled = self._settle_all(group)
        except StoreError as error:
            return [error] * len(group)
        if settled or len(group) == 1:
            return [settled] * len(group)
        half = len(group) // 2
        halves = [gevent.spawn(self._settle_group, part) for part in (group[:half], group[half:])]
        return [each for part in halves for each in part.get()]

    def _settle_all(self, group: list[Settlement]) -> bool:
        """Settle these batches in one transaction, or none; raise what another attempt would meet, too."""
        try:
            with session(self._pool) as connection:
                return submissions.settle(connection, self._calendar(), group) == "settled"
        except StoreUnavailable:
            raise
        except StoreError as error:
            cause = error.__cause__
            if isinstance(cause, psycopg.errors.UniqueViolation) and cause.diag.table_name == "nonces":
                self._careful_until = self._clock() + _CAREFUL_SECS
            self._mend(error)
            return False
        except Exception:  # noqa: BLE001 - whichever batch it was of these: alone it will be told
            return False

    def _settle_alone(
        self, question: Question, *, proven: bool, decide: Callable[[Known], Outcome]
    ) -> tuple[bytes, Outcome | None]:
        calendar = self._calendar()
        with session(self._pool) as connection, connection.transaction():
            submissions.lock(connection, question)
            [known] = submissions.look_up(connection, [question])
            first = known.first_answer(question.key)
            if first is not None:
                return first, None
            outcome = decide(known)
            said = submissions.settle(connection, calendar, [Settlement(question.key, proven, outcome)])
            if said != "settled":
                raise EpochClosed(f"The batch began too early to be settled: {said}.")
        return outcome.answer, outcome

    def _mend(self, error: StoreError) -> bool:
        """Tell whether the next attempt may succeed, after doing what it needs."""
        if isinstance(error.__cause__, psycopg.errors.CheckViolation):
            # This day has no partition yet: the background process did not make it. Or a migration came between.
            make_partitions(self._pool)
            return True
        return isinstance(error, EpochClosed) or isinstance(error.__cause__, _RACES)


def _apart(settlements: list[Settlement]) -> list[bool]:
    """Tell of each whether it claims nothing that one before it claims: neither a nonce nor a batch nonce."""
    seen: set[object] = set()
    fits = []
    for key, _, outcome in settlements:
        marks: list[object] = [claim.nonce_key for claim in outcome.credited]
        if key.batch_nonce is not None:
            marks.append((key.client_did, key.batch_nonce))
        fits.append(seen.isdisjoint(marks))
        if fits[-1]:
            seen.update(marks)
    return fits
