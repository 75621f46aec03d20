"""Decentralised identifiers: the syntax of any DID, and the key inside a ``did:key``.

Sources: W3C DID Core 1.0, section 3.1 (syntax); the did:key method, "Ed25519" (multicodec 0xed01 and 32
key bytes, multibase base58btc).
"""

from __future__ import annotations

import functools
import re

from nacl.bindings import crypto_core_ed25519_is_valid_point

from pouw.errors import DidError
from pouw.protocol.types import DID_BYTES, KEY_BYTES

_ALPHABET = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_DIGITS = {character: value for value, character in enumerate(_ALPHABET)}
_PREFIX = "did:key:z"
_MULTICODEC = b"\xed\x01"
_ENCODED_CHARACTERS = 47  # of any 34 bytes that start with 0xed01
_SYNTAX = re.compile(r"did:[a-z0-9]+:(?:[A-Za-z0-9._-]|%[0-9A-Fa-f]{2}|:(?=.))+\Z")


def is_did(text: str) -> bool:
    """Whether ``text`` has the syntax of a DID and an allowed length."""
    return _SYNTAX.match(text) is not None and len(text) in DID_BYTES


def is_did_key(did: str) -> bool:
    """Whether ``did`` is of the method that carries its own key."""
    return did.startswith("did:key:")


def did_from_key(public_key: bytes) -> str:
    """Name an Ed25519 public key as a ``did:key``.

    Raises :class:`DidError` where the key is not a canonical point of prime order.
    """
    check_key(public_key)
    number = int.from_bytes(_MULTICODEC + public_key)
    encoded = ""
    while number:
        number, digit = divmod(number, 58)
        encoded = _ALPHABET[digit] + encoded
    return _PREFIX + encoded


@functools.lru_cache(maxsize=4096)
def key_from_did(did: str) -> bytes:
    """Take the 32 key bytes out of an Ed25519 ``did:key``.

    Raises :class:`DidError` for another multibase or multicodec, a wrong length, or a key that is not a
    canonical point of prime order.
    """
    encoded = did.removeprefix(_PREFIX)
    if encoded == did or len(encoded) != _ENCODED_CHARACTERS:
        raise DidError("A did:key with an Ed25519 key is did:key:z and 47 characters of base58btc.")
    number = 0
    for character in encoded:
        if character not in _DIGITS:
            raise DidError(f"{character!r} is not a character of base58btc.")
        number = number * 58 + _DIGITS[character]
    if number.bit_length() > 8 * (len(_MULTICODEC) + KEY_BYTES):
        raise DidError("A did:key with an Ed25519 key holds exactly 34 bytes.")
    decoded = number.to_bytes(len(_MULTICODEC) + KEY_BYTES)
    if not decoded.startswith(_MULTICODEC):
        raise DidError("The multicodec of an Ed25519 key is 0xed01.")
    key = decoded[len(_MULTICODEC) :]
    check_key(key)
    return key


def check_key(public_key: bytes) -> None:
    """Raise :class:`DidError` unless the key is a canonical point of prime order.

    A key with a small-order part would let several signatures stand for one message, so it names no client.
    """
    if len(public_key) != KEY_BYTES:
        raise DidError(f"An Ed25519 public key has {KEY_BYTES} bytes.")
    if not crypto_core_ed25519_is_valid_point(public_key):
        raise DidError("The key is not a canonical point of prime order.")
