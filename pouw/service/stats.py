"""How the network stands: the present epoch, the money, and counts. Read from a few rows, however many receipts."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from pouw.service.fresh import Fresh
from pouw.store import epochs as store
from pouw.store import jobs, payouts

if TYPE_CHECKING:
    from collections.abc import Callable

    from pouw.protocol.rewards import Rules
    from pouw.service.epochs import Epochs
    from pouw.store.pool import Pool

_FRESH_SECS = 5.0


class Stats:
    """Status and counts, at most some seconds old."""

    def __init__(
        self,
        pool: Pool,
        epochs: Epochs,
        rules: Rules,
        *,
        clock: Callable[[], float],
        timer: Callable[[], float] = time.monotonic,
    ) -> None:
        self._pool = pool
        self._epochs = epochs
        self._rules = rules
        self._clock = clock
        self._read = Fresh(self._ask, seconds=_FRESH_SECS, timer=timer)

    def _ask(self) -> dict[str, Any]:
        return {
            "money": payouts.money(self._pool),
            "last_closed": store.last_closed(self._pool),
            "open": jobs.state(self._pool, "tally"),
        }

    def status(self) -> dict[str, Any]:
        """Return the present epoch, the rules, and the budget. Amounts are strings of atoms."""
        calendar = self._epochs.calendar()
        present = calendar.number(self._clock())
        read = self._read.get()
        money = read["money"]
        left = self._rules.budget - money["allocated_atoms"] - money["compensated_atoms"]
        return {
            "epoch": present,
            "epoch_starts_at": calendar.starts_at(present),
            "epoch_ends_at": calendar.starts_at(present + 1),
            "last_closed_epoch": None if read["last_closed"] < 0 else read["last_closed"],
            "rules": self._rules.as_json(),
            "budget_left_atoms": str(max(0, left)),
        }

    def counts(self) -> dict[str, Any]:
        """Return counts over the closed epochs, the states of payouts, and the present epoch as last tallied."""
        read = self._read.get()
        money = dict(read["money"])
        return {
            "closed": {"epochs": money.pop("epochs"), "receipts": money.pop("receipts")},
            "atoms": {name.removesuffix("_atoms"): str(amount) for name, amount in money.items()},
            "present": {
                "batches": read["open"].get("batches", 0),
                "accepted": read["open"].get("accepted", 0),
                "rejected": read["open"].get("rejected", 0),
                "tallied_at": read["open"].get("tallied_at"),
            },
        }
