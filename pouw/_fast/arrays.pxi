# One-dimensional PostgreSQL arrays in their binary form, as array_recv of src/backend/utils/adt/arrayfuncs.c reads them.

cdef enum:
    BOOL_OID = 16
    BYTEA_OID = 17
    INT8_OID = 20
    INT2_OID = 21
    INT4_OID = 23
    TEXT_OID = 25
    ARRAY_HEAD = 20


cdef inline unsigned char *put_big_endian(unsigned char *out, uint64_t value, int size) noexcept nogil:
    cdef int i
    for i in range(size):
        out[i] = <unsigned char>(value >> (8 * (size - 1 - i)))
    return out + size


cdef inline int width_of(int oid) except -1:
    """Return how many bytes an element has, or 0 where each has a size of its own."""
    if oid == BOOL_OID:
        return 1
    if oid == INT2_OID:
        return 2
    if oid == INT4_OID:
        return 4
    if oid == INT8_OID:
        return 8
    if oid == BYTEA_OID or oid == TEXT_OID:
        return 0
    raise ValueError(f"no array of elements of type {oid}")


cdef Py_ssize_t span_of(object item, const char **data) except -1:
    """Point at the bytes of a bytes object, or at the UTF-8 of a str; return how many."""
    cdef Py_ssize_t size
    if type(item) is bytes:
        data[0] = PyBytes_AS_STRING(item)
        return PyBytes_GET_SIZE(item)
    if type(item) is str:
        data[0] = PyUnicode_AsUTF8AndSize(item, &size)
        if data[0] == NULL:
            PyErr_Clear()
            raise ValueError("a lone surrogate has no UTF-8")
        return size
    raise TypeError(f"bytes or str, not {type(item).__name__}")


cdef inline unsigned char *put_head(
    unsigned char *out, int oid, Py_ssize_t count, bint has_null = False
) noexcept nogil:
    out = put_big_endian(out, 1, 4)  # one dimension
    out = put_big_endian(out, has_null, 4)
    out = put_big_endian(out, <uint64_t>oid, 4)
    out = put_big_endian(out, <uint64_t>count, 4)
    return put_big_endian(out, 1, 4)  # the first index


def pack_array(int oid, list items not None):
    """Return the binary form of a PostgreSQL array of ``bytes``, ``str``, ``int`` or ``bool``; None is NULL.

    ``oid`` is that of the element type: bool 16, bytea 17, int8 20, int2 21, int4 23 or text 25. Raises ValueError for
    another one, and for a number that does not fit; TypeError for an element of another kind.
    """
    cdef int width = width_of(oid)
    cdef Py_ssize_t count = len(items), size = ARRAY_HEAD, i
    cdef const char *data
    cdef unsigned char *out
    cdef bint has_null = False
    cdef int64_t number, most = 0x7FFFFFFFFFFFFFFF if width == 8 else (<int64_t>1 << (8 * width - 1)) - 1
    if count == 0:
        return EMPTY_ARRAY + int(oid).to_bytes(4, "big")
    for i in range(count):
        item = items[i]
        has_null = has_null or item is None
        size += 4 + (0 if item is None else width or span_of(item, &data))
    packed = PyBytes_FromStringAndSize(NULL, size)
    out = put_head(<unsigned char *>PyBytes_AS_STRING(packed), oid, count, has_null)
    for i in range(count):
        item = items[i]
        if item is None:
            out = put_big_endian(out, 0xFFFFFFFF, 4)
        elif width == 0:
            size = span_of(item, &data)
            out = put_big_endian(out, <uint64_t>size, 4)
            memcpy(out, data, <size_t>size)
            out += size
        else:
            number = item
            if oid == BOOL_OID:
                number = number != 0
            elif number > most or number < -most - 1:
                raise ValueError(f"{number} has no room in {width} bytes")
            out = put_big_endian(out, <uint64_t>width, 4)
            out = put_big_endian(out, <uint64_t>number, width)
    return packed


cdef bytes EMPTY_ARRAY = b"\0" * 8
