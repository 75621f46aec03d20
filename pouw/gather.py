"""Round trips that are shared: what arrives while one is out goes together with the next."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Generic, TypeVar, cast

import gevent
from gevent.event import AsyncResult

if TYPE_CHECKING:
    from collections.abc import Callable

Q = TypeVar("Q")
A = TypeVar("A")


class Gather(Generic[Q, A]):
    """Answers each greenlet's question, several of them with one call of ``run``.

    ``run`` gets at most ``most`` questions, in the order in which they came, and returns their answers in the same
    order; what it raises is raised to each of them. At most ``lanes`` calls are out at a time. A question that comes
    alone does not wait for others.
    """

    def __init__(self, run: Callable[[list[Q]], list[A]], *, most: int, lanes: int) -> None:
        self._run = run
        self._most = most
        self._lanes = lanes
        self._waiting: deque[tuple[Q, AsyncResult[A]]] = deque()

    def ask(self, question: Q) -> A:
        """Return the answer, or raise what the call raised that this question was part of."""
        result: AsyncResult[A] = AsyncResult()
        self._waiting.append((question, result))
        if self._lanes:
            self._lanes -= 1
            gevent.spawn(self._go_on)  # nobody who asks can be killed with the questions of others in hand
        return cast("A", result.get())

    def _go_on(self) -> None:
        try:
            while self._waiting:
                self._call()
        finally:
            self._lanes += 1

    def _call(self) -> None:
        group = [self._waiting.popleft() for _ in range(min(self._most, len(self._waiting)))]
        try:
            answers = self._run([question for question, _result in group])
        except Exception as error:  # noqa: BLE001 - it is raised to whoever asked
            for _question, result in group:
                result.set_exception(error)
        else:
            for (_question, result), answer in zip(group, answers, strict=True):
                result.set(answer)
