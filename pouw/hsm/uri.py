"""Where a key in a PKCS#11 token is, as a URI of RFC 7512."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

_ATTRIBUTES = ("token", "serial", "object", "id", "type")
_PATH_VALUE = re.compile(r"(?:[A-Za-z0-9._~:\[\]@!$'()*+,=&-]|%[0-9A-Fa-f]{2})+\Z")
_QUERY_VALUE = re.compile(r"(?:[A-Za-z0-9._~:\[\]@!$'()*+,=/?|-]|%[0-9A-Fa-f]{2})+\Z")


@dataclass(frozen=True, slots=True)
class TokenUri:
    """Where a key is: a PKCS#11 library, a token that it shows, and a key pair in that."""

    module_path: str
    token: str | None
    serial: str | None
    object: str | None
    id: bytes | None


def parse_uri(uri: str) -> TokenUri:
    """Read an RFC 7512 URI; raise ValueError, whose message holds no value of it, where it does not name one key."""
    scheme, _, rest = uri.partition(":")
    if scheme.lower() != "pkcs11":
        raise ValueError("a PKCS#11 URI starts with pkcs11:")
    path, _, query = rest.partition("?")
    in_path, in_query = _pairs(path, ";", _PATH_VALUE), _pairs(query, "&", _QUERY_VALUE)
    found = in_path | in_query
    if found.keys() & {"pin-value", "pin-source"}:
        raise ValueError("a PIN does not belong in the URI: it would stand among the plain settings")
    if unknown := sorted(in_path.keys() - set(_ATTRIBUTES)):
        raise ValueError(f"unknown attribute {unknown[0]}: expected {', '.join(_ATTRIBUTES)}")
    if unknown := sorted(in_query.keys() - {"module-path"}):
        raise ValueError(f"unknown attribute {unknown[0]} after the question mark: expected module-path")
    texts = {name: _text(name, value) for name, value in found.items() if name != "id"}
    if not texts.get("module-path", "").startswith("/"):
        raise ValueError("?module-path= has to give the absolute path of the PKCS#11 library")
    if texts.get("type", "private") != "private":
        raise ValueError("the only type is private")
    if not texts.keys() & {"token", "serial"}:
        raise ValueError("token= or serial= has to name the token")
    if not found.keys() & {"object", "id"}:
        raise ValueError("object= or id= has to name the key")
    return TokenUri(
        texts["module-path"], texts.get("token"), texts.get("serial"), texts.get("object"), found.get("id")
    )  # fmt: skip


def _pairs(text: str, separator: str, allowed: re.Pattern[str]) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for pair in text.split(separator) if text else []:
        name, equals, value = pair.partition("=")
        if not equals or not re.fullmatch(r"[a-z-]+", name):
            raise ValueError(f"expected name=value between the signs {separator}")
        if not allowed.match(value):
            raise ValueError(f"the value of {name} is empty or has a character that has to be percent-encoded")
        if name in found:
            raise ValueError(f"{name} is there twice")
        found[name] = unquote_to_bytes(value)
    return found


def _text(name: str, value: bytes) -> str:
    try:
        text = value.decode()
    except UnicodeDecodeError:
        raise ValueError(f"{name} is not UTF-8") from None
    if "\0" in text:
        raise ValueError(f"{name} holds a zero byte")
    return text
