"""A PKCS#11 library in this process: one thread, one initialisation, and errors that name what was refused."""

from __future__ import annotations

import os
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, TypeVar

from gevent.threadpool import ThreadPool

from pouw.errors import KeyMaterialError

try:
    import pkcs11
except ImportError:  # the extra is not installed: Module.of says so when somebody wants a key
    _INSTALLED = False
else:
    _INSTALLED = True

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pouw.hsm.uri import TokenUri

T = TypeVar("T")


@contextmanager
def said() -> Iterator[None]:
    """Let the library's errors out as this package's; neither ever holds the PIN."""
    try:
        yield
    except pkcs11.PKCS11Error as error:
        detail = f": {error}" if str(error) else ""
        raise KeyMaterialError(f"the PKCS#11 token refuses with {type(error).__name__}{detail}") from error
    except (LookupError, NotImplementedError, ValueError) as error:  # an answer that the library has no name for
        raise KeyMaterialError(f"the PKCS#11 token answers what python-pkcs11 cannot read: {error}") from error


class Module:
    """A PKCS#11 library, initialised in this process, with the one thread that may call it.

    python-pkcs11 initialises without locks, so that no two threads may be inside the library, whatever the session.
    """

    _all: ClassVar[dict[str, Module]] = {}

    def __init__(self, path: str, inherited: bool) -> None:
        self.path = path
        self.pid = os.getpid()
        self.users = 0
        self.generation = 1
        self._inherited = inherited
        self._pool = ThreadPool(1)

    @classmethod
    def of(cls, path: str) -> Module:
        """Return this process's; neither a thread nor an initialised library comes through a fork."""
        if not _INSTALLED:
            raise KeyMaterialError("keys in PKCS#11 tokens need the extra pouw[hsm]: pip install 'pouw[hsm]'")
        module = cls._all.get(path)
        if module is None or module.pid != os.getpid():
            module = cls._all[path] = cls(path, inherited=module is not None)
        return module

    def call(self, work: Callable[[], T]) -> T:
        """Run on the library's thread while the event loop goes on."""
        # An exception travels as a result: gevent prints every one that leaves a thread of its pool.
        result: T | _Failure = self._pool.apply(_outcome, (work,))
        if isinstance(result, _Failure):
            raise result.error
        return result

    def session(self, where: TokenUri, pin: str, rw: bool = False) -> pkcs11.Session:
        """Open a session on the token and log in."""
        library = pkcs11.lib(self.path)
        if self._inherited:
            self.restart()
        serial = None if where.serial is None else where.serial.encode()
        tokens = list(library.get_tokens(token_label=where.token, token_serial=serial))
        if not tokens:
            raise KeyMaterialError("there is no such token")
        if len(tokens) > 1:
            raise KeyMaterialError("several tokens are of this name; tell which with token= and serial=")
        try:
            return tokens[0].open(rw=rw, user_pin=pin)
        except pkcs11.UserAlreadyLoggedIn:  # by another key of this process: PKCS#11 logs in a process, not a session
            return tokens[0].open(rw=rw)

    def restart(self) -> None:
        """Initialise anew, which ends every session of this process and shows what slots there are now."""
        self._inherited = False
        self.generation += 1
        self._finalize()
        pkcs11.lib(self.path)

    def leave(self) -> None:
        """Count one user less; the last one logs out and frees every session."""
        self.users -= 1
        if self.users == 0:
            self._finalize()

    def _finalize(self) -> None:
        with suppress(pkcs11.PKCS11Error):  # the library may be gone, or have been ended by somebody else
            pkcs11.lib(self.path).finalize()


@dataclass(frozen=True, slots=True)
class _Failure:
    error: Exception


def _outcome(work: Callable[[], T]) -> T | _Failure:
    try:
        return work()
    except Exception as error:  # noqa: BLE001 - it is raised again by the greenlet that waits
        return _Failure(error)
