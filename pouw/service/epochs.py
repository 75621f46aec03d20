"""Closing epochs: work becomes money, exactly once, under a signed manifest that anyone can check."""

from __future__ import annotations

import os
import pickle
import tempfile
from typing import TYPE_CHECKING

from pouw.errors import EpochError
from pouw.logs import log
from pouw.protocol import manifests
from pouw.protocol.merkle import Roots, leaf_hash
from pouw.service.pieces import MANY, pieces, pieces_by_several
from pouw.store import epochs as store
from pouw.store import payouts, trees
from pouw.store.pool import address
from pouw.store.trees import Piece

if TYPE_CHECKING:
    from collections.abc import Callable

    from psycopg import Connection
    from psycopg.rows import TupleRow

    from pouw.keys import Signer
    from pouw.protocol.rewards import Terms
    from pouw.store.epochs import Calendar
    from pouw.store.pool import Pool

SETTLE_SECS = 10
"""How long after its end an epoch is left alone: every batch that began in it is done by then, or will begin anew."""


class Epochs:
    """Closes epochs one after the other."""

    def __init__(self, pool: Pool, terms: Terms, *, signer: Callable[[], Signer]) -> None:
        self._pool = pool
        self._terms = terms
        self._rules = terms.rules
        self._signer = signer
        self._calendar: Calendar | None = None

    def calendar(self) -> Calendar:
        """Return when epochs begin; the first node on a database decides it.

        Raises :class:`pouw.errors.EpochError` where this node was told another calendar than the others.
        """
        if self._calendar is None:
            self._calendar = store.agree(self._pool, self._terms.genesis, self._terms.epoch_secs)
        return self._calendar

    def due(self) -> tuple[int, float]:
        """Return the first epoch that is not closed, and the seconds since it may be; less than 0 if it may not yet."""
        epoch = store.last_closed(self._pool) + 1
        return epoch, store.server_time(self._pool) - self.calendar().starts_at(epoch + 1) - SETTLE_SECS

    def close_due(self) -> int:
        """Close every epoch that may be closed, in order; return how many were."""
        closed = 0
        while True:
            epoch, overdue = self.due()
            if overdue < 0:
                return closed
            closed += self.close(epoch)

    def close(self, epoch: int) -> bool:
        """Close one epoch; False where it is closed already. A crash on the way leaves nothing of it.

        Raises :class:`pouw.errors.EpochError` where the one before it is not closed: the chain has no gaps.
        """
        calendar = self.calendar()
        bounds = (calendar.starts_at(epoch), calendar.starts_at(epoch + 1))
        with store.closing(self._pool, epoch) as connection:
            if connection is None:
                return False
            previous = store.find(self._pool, epoch - 1)
            if previous is None and epoch > 0:
                raise EpochError(f"Epoch {epoch} cannot be closed before epoch {epoch - 1}")
            left = max(0, self._rules.budget - payouts.spent(connection))
            totals = store.reward(connection, epoch, bounds, self._rules, left, self._terms.minimum_bytes)
            manifest = manifests.Manifest(
                epoch=epoch,
                starts_at=bounds[0],
                ends_at=bounds[1],
                receipts=totals.receipts,
                clients=totals.clients,
                rules=self._rules,
                budget_left=left,
                computed=totals.computed,
                allocated=totals.allocated,
                receipts_root=self._plant(connection, epoch, bounds, totals.receipts),
                rewards_root=_rewards_root(connection, epoch),
                previous=manifests.FIRST_PREVIOUS if previous is None else manifests.digest(previous.manifest.encode()),
            )
            text = manifest.encode()
            signer = self._signer()
            row = store.EpochRow(epoch, text.decode(), signer.public_key, signer.sign(manifests.signed_bytes(text)))
            store.conclude(connection, row, bounds, totals, self._rules.pool)
        log.info("epoch_closed", epoch=epoch, receipts=totals.receipts, allocated_atoms=str(totals.allocated))
        return True

    def _plant(self, connection: Connection[TupleRow], epoch: int, bounds: tuple[int, int], receipts: int) -> bytes:
        """Compute and store the tree over an epoch's receipts; return its root."""
        whole = Roots()
        found = (
            pieces(trees.receipts(connection, bounds))
            if receipts < MANY
            else pieces_by_several(address(self._pool), bounds, min(4, os.cpu_count() or 1))
        )
        # A connection does one thing at a time, and an epoch may have more leaves than memory: a file is in between.
        with tempfile.TemporaryFile() as spool:
            count = 0
            for piece in found:
                count += 1
                whole.add(piece.root)
                pickle.dump((piece.number, piece.nonces, piece.leaves, piece.root), spool)
            spool.seek(0)
            stored = (Piece(*pickle.load(spool)) for _ in range(count))  # noqa: S301 - our own file
            trees.write(connection, epoch, stored)
        return whole.root()


def _rewards_root(connection: Connection[TupleRow], epoch: int) -> bytes:
    lines = (manifests.RewardLine(*values) for values in store.reward_lines(connection, epoch))
    return Roots(leaf_hash(line.encode()) for line in lines).root()
