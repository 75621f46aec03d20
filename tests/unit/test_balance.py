"""Connections are shared out: who holds back, for how long, and that nobody waits for a worker that is gone."""

from __future__ import annotations

import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from pouw.balance import Board, Share

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def _close() -> Iterator[None]:
    yield
    OPEN.close()


OPEN = ExitStack()


def shares(*connections: int) -> tuple[Board, list[Share]]:
    board = Board()
    made = [Share(board, number) for number in range(len(connections))]
    for share, count in zip(made, connections, strict=True):
        for _ in range(count):
            OPEN.enter_context(share.connection())
    return board, made


@pytest.mark.parametrize(
    ("mine", "other", "holds_back"), [(0, 0, False), (1, 0, True), (1, 1, False), (9, 7, True), (100, 90, False)]
)
def test_who_has_clearly_more_holds_back(mine: int, other: int, holds_back: bool) -> None:
    _board, [share, _other] = shares(mine, other)
    assert share.holds_back() is holds_back


def test_the_only_worker_never_holds_back() -> None:
    _board, [share] = shares(5)
    assert not share.holds_back()


def test_it_holds_back_for_a_moment_only() -> None:
    _board, [share, _other] = shares(5, 0)
    assert share.holds_back()
    deadline = time.monotonic() + 5
    while share.holds_back():
        assert time.monotonic() < deadline
    assert share.holds_back()  # the next connection


def test_nobody_waits_for_a_worker_that_leaves_or_was_killed() -> None:
    _board, [share, leaving] = shares(5, 1)
    leaving.leave()
    with leaving.connection():
        assert not share.holds_back()
    board, [share, _killed] = shares(5, 0)
    board.clear(1)
    assert not share.holds_back()


def test_a_connection_counts_until_it_ends_however_it_ends() -> None:
    board, [share, _other] = shares(0, 0)

    def end_badly() -> None:
        with share.connection():
            assert board.fewest(besides=1) == 1
            raise ValueError("x")

    with pytest.raises(ValueError, match="x"):
        end_badly()
    assert board.fewest(besides=1) == 0
