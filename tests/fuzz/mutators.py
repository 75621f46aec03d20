"""Changes to inputs that keep them well-formed enough to be read to the end.

Flipped bits rarely leave a JSON text or a length prefix intact, so most of the time the fuzzer changes members and
fields instead. A mutator takes an input and a source of chance, and returns None where the input has no such structure.
What stands in a member or a field it may leave to libFuzzer, which knows what the code compared it with.
"""

from __future__ import annotations

import copy
import json
from random import Random
from typing import TYPE_CHECKING, Any

import orjson

from pouw.protocol.canonical import varint
from pouw.protocol.types import MAX_INTEGER, PROOF_TYPE_NAMES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Field = tuple[int, int | bytes | list["Field"]]
    Message = dict[int, "Message"]


class Chance(Random):
    """A source of chance that can also change bytes as libFuzzer does."""

    def __init__(self, seed: int, change: Callable[[bytes], bytes]) -> None:
        super().__init__(seed)
        self.change = change


SIZES = (0, 1, 15, 16, 17, 31, 32, 33, 63, 64, 65, 255, 256, 257, 4095, 4096, 4097)
INTEGERS = (0, 1, 2, 3, 4, 5, 127, 128, 2**32 + 1, MAX_INTEGER, MAX_INTEGER + 1, 2**64 - 1)
_ROUTES = ('{"manifest_cid":"b","served_from_cache":true}', '{"manifest_cid":"b"}', '{"manifest_cid":""}', "[", "{}")
_LENGTH = 2
_LONGER = 0.005
# The fields that are messages themselves, by their tags.
_SIGNED_RECEIPT: Message = {1 << 3 | _LENGTH: {14 << 3 | _LENGTH: {}}}
_NAMES = ("merkle_root", "proof_digest", "context", "provider_id", "aux", "receipt", "signature", "\ud7ff", "é")


def mutate_json(data: bytes, chance: Chance) -> bytes | None:
    """Change one value or member of a JSON text, and write it in one of the ways there are to write it."""
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError:
        return None
    for _ in range(chance.choice((1, 1, 2, 4))):
        slots = list(_slots(value))
        if slots:
            _change(*chance.choice(slots), chance, slots)
    text = json.dumps(value, ensure_ascii=chance.random() < 0.3, indent=chance.choice((None, None, None, 0)))
    if chance.random() < 0.05:
        at = text.find("{", chance.randrange(len(text) + 1)) + 1
        text = f'{text[:at]}"version":1,{text[at:]}'  # where there is a version already, its name stands twice
    return text.encode(errors="surrogatepass")


def _slots(value: Any) -> Iterator[tuple[Any, Any]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in list(items):
        yield value, key
        yield from _slots(inner)


def _change(holder: Any, key: Any, chance: Chance, slots: list[tuple[Any, Any]]) -> None:
    kind = chance.randrange(8)
    if kind == 0:
        del holder[key]
    elif kind == 1 and isinstance(holder, dict):
        holder[chance.choice(_NAMES)] = _anything(chance)
    elif kind == 1:
        holder.append(json.loads(json.dumps(holder[key])))  # a copy, or the next change reaches both
    elif kind == 2:
        other, name = chance.choice(slots)
        if not isinstance(other[name], dict | list):
            holder[key] = other[name]
    elif kind == 3:
        holder[key] = _anything(chance)
    else:
        holder[key] = _like(holder[key], chance)


def _like(value: Any, chance: Chance) -> Any:
    """Return a neighbour of the value: another size, another bound, another way to write it."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return chance.choice((str(value), value + 1, value - 1, float(value), chance.choice(INTEGERS)))
    if isinstance(value, str):
        if value in PROOF_TYPE_NAMES:
            return chance.choice(tuple(PROOF_TYPE_NAMES))
        if value.isascii() and value.isdigit() and chance.random() < 0.3:
            return int(value[:20])
        return chance.choice((_changed, _changed, _resized))(value, chance)
    return value


def _changed(text: str, chance: Chance) -> str:
    """Let libFuzzer change the bytes that a text stands for."""
    try:
        return chance.change(bytes.fromhex(text)).hex()
    except ValueError:
        return chance.change(text.encode(errors="replace")).decode(errors="replace")


def _resized(text: str, chance: Chance) -> str:
    size = chance.choice(SIZES)
    return chance.choice((text.upper(), text[2:], text + "é", "x" * size, _hex(chance), chance.choice(_ROUTES)))


def _hex(chance: Chance) -> str:
    return f"{chance.randrange(256):02x}" * chance.choice(SIZES)


def _anything(chance: Chance) -> Any:
    simple: tuple[Any, ...] = (
        None,
        True,
        False,
        1.5,
        "",
        {},
        [],
        chance.choice(INTEGERS),
        _hex(chance),
        chance.choice(_ROUTES),
    )
    evidence = {"merkle_root": _hex(chance), "proof_digest": None, "context": chance.choice(_ROUTES)}
    return chance.choice((*simple, evidence, chance.choice(tuple(PROOF_TYPE_NAMES))))


def mutate_batch(data: bytes, chance: Chance) -> bytes | None:
    """Change fields of a ``ReceiptBatch`` at any depth, and write the lengths around them anew."""
    return _mutate_message(data, {4 << 3 | _LENGTH: _SIGNED_RECEIPT}, chance)


def mutate_receipt(data: bytes, chance: Chance) -> bytes | None:
    """Do the same to a ``SignedReceipt``."""
    return _mutate_message(data, _SIGNED_RECEIPT, chance)


def _mutate_message(data: bytes, inner: Message, chance: Chance) -> bytes | None:
    fields = _parse(data, inner)
    if not fields:
        return None
    for _ in range(chance.choice((1, 1, 2, 4))):
        slots = list(_fields(fields))
        if slots:
            _change_field(*chance.choice(slots), chance)
    return _write(fields, chance)


def _fields(fields: list[Field]) -> Iterator[tuple[list[Field], int]]:
    for at, (_tag, value) in enumerate(fields):
        yield fields, at
        if isinstance(value, list):
            yield from _fields(value)


def _change_field(fields: list[Field], at: int, chance: Chance) -> None:
    tag, value = fields[at]
    kind = chance.randrange(8)
    if kind == 0:
        del fields[at]
    elif kind == 1:
        fields.insert(chance.randrange(len(fields) + 1), (tag, copy.deepcopy(value)))
    elif kind == 2:
        fields.insert(at, fields.pop(chance.randrange(len(fields))))
    elif kind == 3:
        number = chance.choice((1, 2, 3, chance.randrange(18)))
        known = chance.choice((number << 3, number << 3 | _LENGTH))
        fields.append((known, chance.randbytes(chance.randrange(40)) if known & 7 else chance.choice(INTEGERS)))
        fields.sort(key=lambda field: field[0])
    elif not isinstance(value, list):
        fields[at] = (tag, _other(value, chance))


def _other(value: int | bytes, chance: Chance) -> int | bytes:
    if isinstance(value, int):
        return chance.choice((value + 1, max(value - 1, 0), chance.choice(INTEGERS)))
    if chance.random() < 0.3:
        return chance.change(value)
    size = chance.randrange(80) if chance.random() < 0.5 else chance.choice(SIZES)
    return chance.choice((
        value[:size], value.ljust(size, b"x"), chance.randbytes(size), value[1:], value + b"\xc3\xa9",
        chance.choice(_ROUTES).encode(),
    ))  # fmt: skip


def _parse(data: bytes, inner: Message) -> list[Field] | None:
    """Return the fields in their order, or None where the bytes are no message of varints and lengths."""
    fields: list[Field] = []
    at = 0
    while at < len(data):
        tag, at = _read_varint(data, at)
        value, at = _read_varint(data, at)
        if at < 0 or tag & 7 not in (0, _LENGTH):
            return None
        if tag & 7 == 0:
            fields.append((tag, value))
            continue
        if value > len(data) - at:
            return None
        content = data[at : at + value]
        parsed = _parse(content, inner[tag]) if tag in inner else None
        fields.append((tag, content if parsed is None else parsed))
        at += value
    return fields


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while 0 <= at < len(data) and shift < 64:
        value |= (data[at] & 0x7F) << shift
        at += 1
        if data[at - 1] < 0x80:
            return value, at
        shift += 7
    return 0, -1


def _write(fields: list[Field], chance: Chance) -> bytes:
    out = bytearray()
    for tag, value in fields:
        content = _write(value, chance) if isinstance(value, list) else value
        number = varint(content if isinstance(content, int) else len(content))
        if chance.random() < _LONGER:
            number = number[:-1] + bytes([number[-1] | 0x80, 0])  # the same number, written longer
        out += varint(tag) + number
        if isinstance(content, bytes):
            out += content
    return bytes(out)


def mutate_signatures(data: bytes, chance: Chance) -> bytes | None:
    """Change a byte or two of one signature, and leave its neighbours honest."""
    changed = bytearray(data)
    for _ in range(chance.choice((1, 2))):
        if changed:
            changed[chance.randrange(len(changed))] = chance.choice((0, 1, 0x10, 0x80, 0xFF, chance.randrange(256)))
    return bytes(changed)


MUTATORS: dict[str, Callable[[bytes, Chance], bytes | None]] = {
    "json": mutate_json,
    "batch": mutate_batch,
    "receipt": mutate_receipt,
    "scan": mutate_json,
    "signatures": mutate_signatures,
}
