"""Marshmallow fields for the protocol's own types: bytes in hex, integers below 2^63, receipts decoded in C."""

from __future__ import annotations

import re
from typing import Any

from marshmallow import ValidationError, fields

from pouw import _fastverify
from pouw.protocol.types import MAX_INTEGER, PROOF_TYPE_NAMES, ProofType

_HEX = re.compile(r"(?:[0-9a-f]{2})*\Z")
_DECIMAL = re.compile(r"(?:0|[1-9][0-9]{0,18})\Z", re.ASCII)


class Hex(fields.Field[bytes]):
    """Bytes as lower-case hex."""

    def __init__(self, *, sizes: range, **kwargs: Any) -> None:
        pattern = f"^([0-9a-f]{{2}}){{{sizes.start},{sizes.stop - 1}}}$"
        kwargs["metadata"] = {"type": "string", "pattern": pattern, **kwargs.get("metadata", {})}
        super().__init__(**kwargs)
        self._sizes = sizes

    def _deserialize(self, value: Any, *_args: Any, **_kwargs: Any) -> bytes:
        if not isinstance(value, str) or not _HEX.match(value) or len(value) // 2 not in self._sizes:
            raise ValidationError(f"Must be lower-case hex of {self._sizes.start} to {self._sizes.stop - 1} bytes.")
        return bytes.fromhex(value)

    def _serialize(self, value: bytes | None, *_args: Any, **_kwargs: Any) -> str | None:
        return None if value is None else value.hex()


class WholeNumber(fields.Field[int]):
    """An integer from 0 to 2^63 - 1, as a JSON integer or as its decimal string."""

    def _deserialize(self, value: Any, *_args: Any, **_kwargs: Any) -> int:
        if isinstance(value, str) and _DECIMAL.match(value):
            value = int(value)
        if type(value) is not int or not 0 <= value <= MAX_INTEGER:
            raise ValidationError("Must be an integer from 0 to 2^63 - 1.")
        return value


_NUMBER = WholeNumber()


class ReceiptPlace(fields.Field[tuple[int, int]]):
    """Where a receipt stands among those of its DID: the numbers of its batch and of itself, with a dash between."""

    def _deserialize(self, value: Any, *_args: Any, **_kwargs: Any) -> tuple[int, int]:
        batch, _, receipt = value.partition("-")
        try:
            return _NUMBER.deserialize(batch), _NUMBER.deserialize(receipt)
        except ValidationError:
            raise ValidationError("Must be the `next` of an earlier page.") from None


class Capabilities(fields.Field[tuple[ProofType, ...]]):
    """Names of proof types, separated by commas."""

    def _deserialize(self, value: Any, *_args: Any, **_kwargs: Any) -> tuple[ProofType, ...]:
        names = value.split(",") if value else []
        unknown = [name for name in names if name not in PROOF_TYPE_NAMES]
        if unknown:
            known = ", ".join(kind.json_name for kind in ProofType)
            raise ValidationError(f"{unknown[0][:40]!r} is not a proof type; known are {known}.")
        return tuple(PROOF_TYPE_NAMES[name] for name in names)


class ReceiptList(fields.Field[list[_fastverify.SignedReceipt]]):
    """The list of signed receipts, decoded to canonical bytes in one C pass; each item stands alone."""

    def _deserialize(self, value: Any, *_args: Any, **_kwargs: Any) -> list[_fastverify.SignedReceipt]:
        if type(value) is not list or not value:
            raise ValidationError("Must be a list of at least one signed receipt.")
        return _fastverify.decode_protobuf(value) if type(value[0]) is bytes else _fastverify.decode_json(value)
