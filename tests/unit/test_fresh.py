"""How old a value may be, who waits for a new one, and what holds while there is none."""

from __future__ import annotations

import gevent
import pytest

from pouw.errors import StoreUnavailable
from pouw.service.fresh import Fresh


class Source:
    """A database that answers with a number, after a time."""

    def __init__(self) -> None:
        self.number: int | None = 0
        self.asked = 0
        self.takes = 0.0
        self.away = False
        self.now = 0.0

    def read(self) -> int | None:
        self.asked += 1
        found = self.number
        gevent.sleep(self.takes)
        if self.away:
            raise StoreUnavailable("It is away")
        return found


@pytest.fixture
def source() -> Source:
    return Source()


@pytest.fixture
def fresh(source: Source) -> Fresh[int | None]:
    return Fresh(source.read, seconds=1.0, timer=lambda: source.now)


def test_nothing_is_a_value_that_is_kept_too(source: Source, fresh: Fresh[int | None]) -> None:
    source.number = None
    assert [fresh.get() for _ in range(5)] == [None] * 5
    assert source.asked == 1


def test_under_load_a_value_is_renewed_in_the_background(source: Source, fresh: Fresh[int | None]) -> None:
    assert fresh.get() == 0
    source.number, source.now = 1, 1.2
    assert fresh.get() == 0
    gevent.sleep(0.01)
    assert fresh.get() == 1
    assert source.asked == 2


def test_after_a_quiet_time_everybody_waits_for_one_look(source: Source, fresh: Fresh[int | None]) -> None:
    fresh.get()
    source.number, source.now, source.takes = 1, 1.6, 0.05
    crowd = [gevent.spawn(fresh.get) for _ in range(20)]
    gevent.joinall(crowd)
    assert [each.value for each in crowd] == [1] * 20
    assert source.asked == 2


def test_a_value_is_as_old_as_the_question(source: Source, fresh: Fresh[int | None]) -> None:
    """What the database said while it took long to answer is old when it comes."""
    fresh.get()
    source.now, source.takes = 10.0, 0.02

    def turn_on() -> None:
        source.number, source.now = 1, 12.0

    gevent.spawn_later(0.01, turn_on)
    assert fresh.get() == 0
    assert fresh.get() == 1


def test_nobody_waits_long_for_a_database_that_hangs(source: Source, fresh: Fresh[int | None]) -> None:
    fresh.get()
    source.now, source.takes = 10.0, 60.0
    with gevent.Timeout(2.0):
        assert fresh.get() == 0


def test_the_last_value_holds_while_the_database_is_away(source: Source, fresh: Fresh[int | None]) -> None:
    fresh.get()
    source.away, source.now = True, 10.0
    assert [fresh.get() for _ in range(5)] == [0] * 5
    assert source.asked == 2, "not again at once"
    source.away, source.number, source.now = False, 1, 20.0
    assert fresh.get() == 1


def test_without_any_value_the_fault_is_told(source: Source, fresh: Fresh[int | None]) -> None:
    source.away = True
    with pytest.raises(StoreUnavailable):
        fresh.get()
