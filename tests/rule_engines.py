"""Every engine of the node and every way in which it computes on this CPU, by one face."""

from __future__ import annotations

from typing import NamedTuple

from pouw import _fastverify


class Engine(NamedTuple):
    """An engine of the node, and the way in which it computes."""

    name: str
    path: str | None = None

    def __str__(self) -> str:
        return f"{self.name}-{self.path or 'default'}"

    def verify(self, messages: list[bytes], signatures: list[bytes], key: bytes) -> bytes:
        return _fastverify.verify(messages, signatures, _fastverify.PublicKey(key), self.name, self.path)


ENGINES = [Engine("libsodium"), Engine("batch"), *(Engine("batch", path) for path in _fastverify.PATHS)]
