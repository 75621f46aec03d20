"""Shared round trips: who waits for what, and that a fault reaches everybody whom it concerns and nobody else."""

from __future__ import annotations

from typing import Any

import gevent
import pytest
from gevent.event import Event

from pouw.gather import Gather


def test_a_question_that_comes_alone_goes_at_once() -> None:
    calls: list[list[int]] = []

    def run(asked: list[int]) -> list[int]:
        calls.append(asked)
        return [2 * each for each in asked]

    gather: Gather[int, int] = Gather(run, most=8, lanes=1)
    assert [gather.ask(1), gather.ask(2)] == [2, 4]
    assert calls == [[1], [2]]


@pytest.mark.parametrize(("most", "lanes"), [(8, 1), (3, 1), (3, 2), (1, 4)])
def test_what_comes_meanwhile_goes_together_and_each_gets_its_own_answer(most: int, lanes: int) -> None:
    calls: list[list[int]] = []
    open_now = 0

    def run(asked: list[int]) -> list[int]:
        nonlocal open_now
        open_now += 1
        assert open_now <= lanes
        calls.append(asked)
        gevent.sleep(0.01)
        open_now -= 1
        return [-each for each in asked]

    gather: Gather[int, int] = Gather(run, most=most, lanes=lanes)
    askers = [gevent.spawn(gather.ask, number) for number in range(20)]
    gevent.joinall(askers, timeout=5)
    assert [asker.value for asker in askers] == [-number for number in range(20)]
    assert sorted(number for call in calls for number in call) == list(range(20))
    assert max(map(len, calls)) <= most
    assert len(calls) <= lanes + -(-20 // most) + 1


def test_a_fault_reaches_the_whole_group_and_not_the_next() -> None:
    first = Event()

    def run(asked: list[str]) -> list[str]:
        first.wait(5)
        if "bad" in asked:
            raise ValueError(",".join(asked))
        return asked

    gather: Gather[str, str] = Gather(run, most=2, lanes=1)
    askers = [gevent.spawn(gather.ask, text) for text in ("a", "bad", "b", "c", "d")]
    gevent.sleep(0)
    first.set()
    gevent.joinall(askers, timeout=5)
    assert [type(asker.exception).__name__ for asker in askers] == [
        "ValueError", "ValueError", "NoneType", "NoneType", "NoneType",
    ]  # fmt: skip
    assert gather.ask("later") == "later"


def test_a_caller_that_is_killed_leaves_nobody_waiting() -> None:
    entered, goes_on = Event(), Event()

    def run(asked: list[int]) -> list[int]:
        entered.set()
        goes_on.wait(5)
        return asked

    gather: Gather[int, int] = Gather(run, most=8, lanes=1)
    leader = gevent.spawn(gather.ask, 1)
    entered.wait(5)
    follower = gevent.spawn(gather.ask, 2)
    gevent.sleep(0)
    leader.kill()
    goes_on.set()
    assert follower.get(timeout=5) == 2


def test_a_lane_that_is_killed_before_it_wakes_leaves_nobody_waiting() -> None:
    lanes: list[Any] = []

    def run(asked: list[int]) -> list[int]:
        lanes.append(gevent.getcurrent())
        return asked

    gather: Gather[int, int] = Gather(run, most=8, lanes=1)
    assert gather.ask(1) == 1
    gevent.sleep(0)  # the lane is idle now
    lanes[0].kill(block=False)
    asker = gevent.spawn(gather.ask, 2)
    assert asker.get(timeout=5) == 2
    assert lanes[0] is not lanes[1]


def test_what_ends_a_lane_reaches_those_whom_it_served() -> None:
    def run(asked: list[int]) -> list[int]:
        if 0 in asked:
            raise gevent.GreenletExit
        return asked

    gather: Gather[int, int] = Gather(run, most=1, lanes=1)
    askers = [gevent.spawn(gather.ask, number) for number in (0, 1, 2)]
    gevent.joinall(askers, timeout=5)
    assert type(askers[0].value).__name__ == "GreenletExit"
    assert [asker.value for asker in askers[1:]] == [1, 2]


def test_a_lane_serves_again_and_again_and_is_opened_anew_when_it_ends() -> None:
    greenlets = []

    def run(asked: list[int]) -> list[int]:
        greenlets.append(gevent.getcurrent())
        if asked == [0]:
            raise SystemExit  # not an Exception: it ends the lane
        return asked

    gather: Gather[int, int] = Gather(run, most=8, lanes=1)
    assert [gather.ask(number) for number in (1, 2, 3)] == [1, 2, 3]
    assert len(set(map(id, greenlets))) == 1
    with pytest.raises(SystemExit):
        gather.ask(0)
    assert [gather.ask(number) for number in (4, 5)] == [4, 5]
    assert greenlets[3] is not greenlets[4] is greenlets[5]
