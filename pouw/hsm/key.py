"""An Ed25519 key pair in a PKCS#11 token: made there, found there, used there."""

from __future__ import annotations

import math
import os
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from nacl.bindings import crypto_core_ed25519_is_valid_point
from nacl.exceptions import BadSignatureError
from nacl.signing import VerifyKey

from pouw.errors import KeyMaterialError
from pouw.hsm.module import Module, said
from pouw.hsm.uri import parse_uri

with suppress(ImportError):  # Module.of says that the extra is missing, before anything here needs it
    import pkcs11
    from pkcs11 import Attribute, KeyType, Mechanism, MechanismFlag, ObjectClass

if TYPE_CHECKING:
    from pouw.hsm.uri import TokenUri

_KEY_BYTES = 32
_SIGNATURE_BYTES = 64
_POINT_PREFIXES = (b"", b"\x04\x20", b"\x03\x21\x00")  # as it is, DER OCTET STRING, DER BIT STRING
_CURVE = b"\x06\x03\x2b\x65\x70"  # DER of id-Ed25519, 1.3.101.112
_TRIAL = b"pouw: does this key sign?\x00"  # no message of the protocol starts like this
_PAUSE_SECS = 1.0
"""How long a token that could not be reopened is left alone: signatures wait in line, and each try may be slow."""


class Pkcs11Key:
    """An Ed25519 key in a PKCS#11 token; the private half never leaves it.

    Open it after the worker has forked. A key that came through a fork opens the token again for its process.
    """

    def __init__(self, uri: str, pin: str) -> None:
        """Open the token and find the key pair; raises :class:`KeyMaterialError`."""
        self._uri = _checked(uri, pin)
        self._pin = pin
        self._public_key = b""
        self._generation = 0
        self._blocked_until, self._reason = 0.0, ""
        self._closed = False
        self._private: pkcs11.SignMixin
        self._module = module = Module.of(self._uri.module_path)
        module.call(lambda: self._start(module))

    def __repr__(self) -> str:
        return f"Pkcs11Key({self._public_key.hex()})"

    @property
    def public_key(self) -> bytes:
        """The 32 bytes of the public half."""
        return self._public_key

    def sign(self, message: bytes) -> bytes:
        """Return the 64-byte Ed25519 signature; raises :class:`KeyMaterialError` where the token gives none."""
        if self._closed:
            raise KeyMaterialError("the key was closed")
        module = Module.of(self._uri.module_path)
        return module.call(lambda: self._sign(module, bytes(message)))

    def close(self) -> None:
        """Leave the token; the last key of a library logs out."""
        module = self._module
        if not self._closed and module.pid == os.getpid():  # a parent's session is not a child's to end
            module.call(module.leave)
        self._closed = True

    # What follows runs on the library's own thread.

    def _start(self, module: Module) -> None:
        module.users += 1
        try:
            self._open(module)
        except BaseException:
            module.leave()
            raise

    def _sign(self, module: Module, message: bytes) -> bytes:
        if module is not self._module:
            self._module, self._generation = module, 0
            module.users += 1
        if self._generation == module.generation:
            # A restarted HSM and a drawn token show in a different error with every maker, so any error counts.
            with suppress(pkcs11.PKCS11Error):
                return self._signature(message)
        self._open(module)
        with said():
            return self._signature(message)

    def _open(self, module: Module) -> None:
        """Log in and take hold of the key pair, from the start where this process had a session before."""
        if time.monotonic() < self._blocked_until:
            raise KeyMaterialError(self._reason)
        try:
            with said():
                if self._generation == module.generation:
                    module.restart()
                session = module.session(self._uri, self._pin)
                self._private, point = _pair(session, self._uri)
                self._adopt(point)
                self._generation = module.generation
        except KeyMaterialError as error:
            # Another try with a wrong PIN would only bring the token nearer to locking itself.
            wrong = (pkcs11.PinIncorrect, pkcs11.PinInvalid, pkcs11.PinLenRange, pkcs11.PinLocked, pkcs11.PinExpired)
            wrong_pin = isinstance(error.__cause__, wrong)
            self._blocked_until = math.inf if wrong_pin else time.monotonic() + _PAUSE_SECS
            self._reason = str(error)
            self._generation = module.generation  # so that the next try starts anew
            raise

    def _adopt(self, point: bytes) -> None:
        if self._public_key not in (b"", point):
            raise KeyMaterialError("the token holds another key now than when it was opened first")
        known, self._public_key = self._public_key, point
        try:
            self._signature(_TRIAL)
        except pkcs11.SignatureInvalid as error:
            self._public_key = known
            raise KeyMaterialError("the private and the public object in the token are not one Ed25519 pair") from error

    def _signature(self, message: bytes) -> bytes:
        signature = bytes(self._private.sign(message, mechanism=Mechanism.EDDSA))
        try:
            # A handle from before a restart may mean another key, and a faulty signature gives the private half away.
            VerifyKey(self._public_key).verify(message, signature)
        except (BadSignatureError, ValueError):
            raise pkcs11.SignatureInvalid from None
        return signature


def generate(uri: str, pin: str) -> bytes:
    """Make a key pair under the URI's label that can never be read out, and return its public half.

    Raises :class:`KeyMaterialError`, also where the label (or the label with this id) is taken.
    """
    where = _checked(uri, pin)
    if where.object is None:
        raise KeyMaterialError("a new key needs a label: object= is missing")
    module = Module.of(where.module_path)

    def make() -> None:
        module.users += 1
        try:
            with said():
                _generate(module.session(where, pin, rw=True), where)
        finally:
            module.leave()

    module.call(make)
    key = Pkcs11Key(uri, pin)
    key.close()
    return key.public_key


def _generate(session: pkcs11.Session, where: TokenUri) -> None:
    if list(session.get_objects(_template(where))):
        raise KeyMaterialError("the token has an object of this name already")
    domain = session.create_domain_parameters(KeyType.EC_EDWARDS, {Attribute.EC_PARAMS: _CURVE}, local=True)
    domain.generate_keypair(
        label=where.object,
        id=where.id or os.urandom(8),  # the two halves find each other by it
        store=True,
        mechanism=Mechanism.EC_EDWARDS_KEY_PAIR_GEN,
        capabilities=MechanismFlag.SIGN | MechanismFlag.VERIFY,
        private_template={Attribute.SENSITIVE: True, Attribute.EXTRACTABLE: False},
    )


def _pair(session: pkcs11.Session, where: TokenUri) -> tuple[pkcs11.SignMixin, bytes]:
    """Find the one key pair that the URI names: the private object and the public key's bytes."""
    private = _one(session, _template(where) | {Attribute.CLASS: ObjectClass.PRIVATE_KEY}, "private")
    if private[Attribute.KEY_TYPE] != KeyType.EC_EDWARDS:
        raise KeyMaterialError("the private key is of another type than Ed25519")
    if not isinstance(private, pkcs11.SignMixin):
        raise KeyMaterialError("the private key is not one that may sign")
    same = {Attribute.ID: private[Attribute.ID]} if private[Attribute.ID] else {}
    public = _one(session, _template(where) | same | {Attribute.CLASS: ObjectClass.PUBLIC_KEY}, "public")
    encoded = bytes(public[Attribute.EC_POINT])
    point = encoded[-_KEY_BYTES:]
    if encoded.removesuffix(point) not in _POINT_PREFIXES or len(point) != _KEY_BYTES:
        raise KeyMaterialError("the public key is not one of Ed25519")
    if not crypto_core_ed25519_is_valid_point(point):
        raise KeyMaterialError("the public key is not a canonical point of prime order")
    return private, point


def _one(session: pkcs11.Session, template: dict[Attribute, object], kind: str) -> pkcs11.Object:
    found = list(session.get_objects(template))
    if not found:
        needed = "; the public object is needed beside the private one" if kind == "public" else ""
        raise KeyMaterialError(f"the token has no {kind} key of this name{needed}")
    if len(found) > 1:
        raise KeyMaterialError(f"the token has several {kind} keys of this name; tell which with object= and id=")
    return found[0]


def _template(where: TokenUri) -> dict[Attribute, object]:
    names = {Attribute.LABEL: where.object, Attribute.ID: where.id}
    return {name: value for name, value in names.items() if value is not None}


def _checked(uri: str, pin: str) -> TokenUri:
    try:
        where = parse_uri(uri)
    except ValueError as error:
        raise KeyMaterialError(str(error)) from error
    if not pin or not pin.isprintable():  # bytes of the environment that are not UTF-8 are not printable either
        raise KeyMaterialError("the PIN is empty or has a character that cannot be printed")
    return where
