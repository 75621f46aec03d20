"""TLS as the node serves it: 1.3 only (RFC 8446), with a certificate that may be renewed while it runs.

Imported in a worker only, after gevent has patched the module ssl.
"""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Any, Self

import gevent
from cryptography import x509

from pouw.logs import log

if TYPE_CHECKING:
    from pathlib import Path

_LOOK_SECS = 2.0


class RenewingContext(ssl.SSLContext):
    """A server's context that takes over a renewed certificate; open connections keep the old one."""

    def __new__(cls, _cert: Path, _key: Path) -> Self:
        """Make a context for servers."""
        return super().__new__(cls, ssl.PROTOCOL_TLS_SERVER)

    def __init__(self, cert: Path, key: Path) -> None:
        self.minimum_version = ssl.TLSVersion.TLSv1_3
        self.set_alpn_protocols(["http/1.1"])
        self._files = (cert, key)
        self._state = self._look()
        self.load_cert_chain(cert, key)

    def wrap_socket(self, sock: Any, **options: Any) -> ssl.SSLSocket:  # type: ignore[override]  # what servers pass
        """Wrap an accepted socket and leave the handshake to the worker, which sets it a time."""
        return super().wrap_socket(sock, **(options | {"do_handshake_on_connect": False}))

    def watch(self) -> None:
        """Look for a renewed certificate for ever."""
        while True:
            gevent.sleep(_LOOK_SECS)
            self.renew()

    def renew(self) -> None:
        """Load the files where they changed; a pair that does not fit, or only half of it, changes nothing."""
        state = self._look()
        if state == self._state or None in state:
            return
        try:
            # Tried apart first: a failed load would leave this context with a certificate and another's key.
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(*self._files)
            self.load_cert_chain(*self._files)
        except (OSError, ssl.SSLError) as error:
            log.warning("certificate_not_loaded", error=str(error))
        else:
            log.info("certificate_loaded", file=str(self._files[0]))
        self._state = state

    def _look(self) -> tuple[tuple[int, int] | None, ...]:
        return tuple(_state(path) for path in self._files)


def expiry(cert: Path) -> float:
    """Return when the first certificate of a file ends, in unix seconds; 0 where it cannot be read."""
    try:
        return x509.load_pem_x509_certificate(cert.read_bytes()).not_valid_after_utc.timestamp()
    except (OSError, ValueError):
        return 0.0


def _state(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns
