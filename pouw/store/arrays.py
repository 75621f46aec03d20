"""Lists as parameters of statements: PostgreSQL arrays, packed in C, whatever psycopg's own dumpers of lists cost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Self

from psycopg.adapt import Dumper
from psycopg.pq import Format

from pouw._fastverify import pack_array

if TYPE_CHECKING:
    from psycopg.abc import AdaptContext


class Array:
    """A list of values of one type; None is NULL.

    The numbers are those of the element's type and of its array in every PostgreSQL (src/include/catalog/pg_type.dat).
    """

    __slots__ = ("packed",)
    element_oid: ClassVar[int]
    oid: ClassVar[int]

    def __init__(self, items: list[Any]) -> None:
        self.packed = pack_array(self.element_oid, items)

    @classmethod
    def of_packed(cls, packed: bytes) -> Self:
        """Take over what was packed already."""
        array = cls.__new__(cls)
        array.packed = packed
        return array


class Bool(Array):
    """``boolean[]``."""

    element_oid, oid = 16, 1000


class Bytea(Array):
    """``bytea[]``."""

    element_oid, oid = 17, 1001


class Int2(Array):
    """``smallint[]``."""

    element_oid, oid = 21, 1005


class Int4(Array):
    """``integer[]``."""

    element_oid, oid = 23, 1007


class Int8(Array):
    """``bigint[]``."""

    element_oid, oid = 20, 1016


class Text(Array):
    """``text[]``."""

    element_oid, oid = 25, 1009


class _ArrayDumper(Dumper):
    format = Format.BINARY

    def dump(self, obj: Array) -> bytes:
        return obj.packed


KINDS = (Bool, Bytea, Int2, Int4, Int8, Text)
_DUMPERS = {kind: type(f"_{kind.__name__}Dumper", (_ArrayDumper,), {"oid": kind.oid}) for kind in KINDS}


def register(context: AdaptContext) -> None:
    """Teach a connection to send each of the :data:`KINDS`."""
    for kind, dumper in _DUMPERS.items():
        context.adapters.register_dumper(kind, dumper)
