"""A Lua script in Redis, run with as little as possible around it: every request waits for one."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from redis.exceptions import NoScriptError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from redis import ConnectionPool


class Script:
    """Runs a script on a connection of the pool, without what redis-py's own ``Script`` does around it."""

    def __init__(self, pool: ConnectionPool, source: str) -> None:
        self._pool = pool
        self._source = source
        self._digest = hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest()  # what Redis calls it

    def run(self, keys: Sequence[str], arguments: Sequence[int]) -> Any:
        """Return the script's result; raise :class:`redis.RedisError` where Redis does not answer."""
        connection = self._pool.get_connection()
        try:
            try:
                return _ask(connection, "EVALSHA", self._digest, len(keys), *keys, *arguments)
            except NoScriptError:  # a new server, or one that was emptied
                return _ask(connection, "EVAL", self._source, len(keys), *keys, *arguments)
        except BaseException:
            connection.disconnect()  # type: ignore[no-untyped-call]  # whatever is still to come on it belongs to nobody
            raise
        finally:
            self._pool.release(connection)


def _ask(connection: Any, *command: str | int) -> Any:
    connection.send_command(*command)
    return connection.read_response()
