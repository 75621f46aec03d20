"""Round trips that are shared: what arrives while one is out goes together with the next."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Generic, TypeVar, cast

import gevent
from gevent.event import AsyncResult
from gevent.lock import Semaphore

if TYPE_CHECKING:
    from collections.abc import Callable

Q = TypeVar("Q")
A = TypeVar("A")


class Gather(Generic[Q, A]):
    """Answers each greenlet's question, several of them with one call of ``run``.

    ``run`` gets at most ``most`` questions, in the order in which they came, and returns their answers in the same
    order; what it raises is raised to each of them. At most ``lanes`` calls are out at a time, each on a greenlet of
    its own: nobody who asks can be killed with the questions of others in hand. A question that comes alone does not
    wait for others. It belongs to the thread that asks first, lives as long as its process, and its lanes with it.
    """

    def __init__(self, run: Callable[[list[Q]], list[A]], *, most: int, lanes: int) -> None:
        self._run = run
        self._most = most
        self._waiting: deque[tuple[Q, AsyncResult[A]]] = deque()
        self._unopened = lanes
        self._idle = 0
        self._asked = Semaphore(0)

    def ask(self, question: Q) -> A:
        """Return the answer, or raise what the call raised that this question was part of."""
        result: AsyncResult[A] = AsyncResult()
        self._waiting.append((question, result))
        if self._idle:
            self._asked.release()
        elif self._unopened:
            self._unopened -= 1
            gevent.spawn(self._serve)
        return cast("A", result.get())

    def _serve(self) -> None:
        """Be a lane, for good: a greenlet for each call would cost more than some calls do."""
        try:
            while True:
                while self._waiting:
                    self._call()
                self._idle += 1
                try:
                    self._asked.acquire()
                finally:
                    self._idle -= 1
        finally:
            if self._waiting and not self._idle:
                gevent.spawn(self._serve)  # for whoever relied on this lane
            else:
                self._unopened += 1

    def _call(self) -> None:
        group = [self._waiting.popleft() for _ in range(min(self._most, len(self._waiting)))]
        try:
            answers = self._run([question for question, _result in group])
        except BaseException as error:
            for _question, result in group:
                result.set_exception(error)
            if not isinstance(error, Exception):
                raise
        else:
            for (_question, result), answer in zip(group, answers, strict=True):
                result.set(answer)
