"""The node's key ring: the keys that it holds, and which of them signs now.

The states are the database's, so that all nodes and workers change over together: a key is staged (published, so that
clients can learn it), then active (of several, the one that was activated last signs), then retired (what it signed
before stays verifiable). See "Rotating the node key" in docs/RUNBOOK.md.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from pouw.errors import KeyMaterialError, NoSigningKey
from pouw.keys import NodeKey, read_ring
from pouw.logs import log
from pouw.service.fresh import Fresh
from pouw.store import keys as store

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from pouw.environment import Secret
    from pouw.keys import Signer
    from pouw.store.keys import NodeKeyRow
    from pouw.store.pool import Pool

_FRESH_SECS = 1.0
RETIRE_GRACE_SECS = 30
"""What a key may still have signed after it was retired: a node needs a moment to notice."""


class KeyRing:
    """The keys that this node holds. A ring in a file is read again when the file changes."""

    def __init__(
        self,
        pool: Pool,
        signers: Sequence[Signer],
        file: Path | None = None,
        *,
        timer: Callable[[], float] = time.monotonic,
    ) -> None:
        self._pool = pool
        self._signers = {signer.public_key: signer for signer in signers}
        self._file = file
        self._file_state = _state(file)
        self._known = Fresh(self._read, seconds=_FRESH_SECS, timer=timer)

    def current(self) -> Signer:
        """Return the key that signs now.

        Raises :class:`NoSigningKey` where none that this node holds is active, and StoreUnavailable where that
        cannot be known.
        """
        return self._active(self._known.get())

    def current_now(self) -> Signer:
        """Return the key that signs, as the database has it at this moment."""
        return self._active(self._known.renew())

    def known(self) -> list[NodeKeyRow]:
        """Return every key that the network's nodes signed with or will sign with, the newest first."""
        return self._known.get()

    def _active(self, rows: Sequence[NodeKeyRow]) -> Signer:
        for row in rows:
            if row.state == "active" and row.public_key in self._signers:
                return self._signers[row.public_key]
        raise NoSigningKey("None of the keys that this node holds is active; `pouw key list` shows their states")

    def _read(self) -> list[NodeKeyRow]:
        self._read_file_again()
        return store.enrol(self._pool, list(self._signers))

    def _read_file_again(self) -> None:
        state = _state(self._file)
        if self._file is None or state == self._file_state:
            return
        self._file_state = state
        try:
            ring = read_ring(self._file)
        except KeyMaterialError as error:
            log.warning("key_ring_not_read", error=str(error))
            return
        in_files = {key.public_key: key for key in ring}
        in_hardware = {public: signer for public, signer in self._signers.items() if not isinstance(signer, NodeKey)}
        self._signers = in_hardware | in_files
        log.info("key_ring_read", keys=len(self._signers))


def open_signers(keys: Sequence[NodeKey], uris: Sequence[str], pin: Secret | None) -> list[Signer]:
    """Return the keys of a ring; those in PKCS#11 tokens are opened in this process.

    Raises :class:`KeyMaterialError` where a token refuses.
    """
    if not uris or pin is None:
        return [*keys]
    from pouw.hsm import Pkcs11Key  # noqa: PLC0415 - an extra that few nodes have

    return [*keys, *(Pkcs11Key(uri, pin.reveal()) for uri in uris)]


def _state(file: Path | None) -> tuple[int, int, int] | None:
    if file is None:
        return None
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size
