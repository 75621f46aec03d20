# One receipt, whatever encoding it came in: its fields, their bounds and their canonical bytes.

cdef struct Span:
    const unsigned char *data
    Py_ssize_t size

cdef struct Fields:
    uint64_t version
    Span task_id
    Span client_did
    Span client_node_id
    Span provider_id
    Span content_id
    uint64_t proof_type
    uint64_t bytes_verified
    uint64_t result_ok
    uint64_t started_at
    uint64_t finished_at
    Span receipt_nonce
    Span challenge_nonce
    bint has_aux
    Span merkle_root
    Span proof_digest
    Span context

cdef enum:
    MAX_DID = 256
    MAX_CONTEXT = 4096
    WEB4_MANIFEST_ROUTE = 3
    WEB4_CONTENT_SERVED = 4
    BODY_ROOM = 8192  # the longest canonical receipt has less than 5,000 bytes
    SCRATCH_ROOM = 512  # the hex fields of one receipt hold at most 384 bytes

cdef uint64_t MAX_INTEGER = 0x7FFFFFFFFFFFFFFF


@cython.final
@cython.freelist(512)
cdef class SignedReceipt:
    """One receipt as it arrived. ``fault`` is None, or says what is malformed; then only the nonce counts."""

    cdef readonly str fault
    cdef readonly bytes body
    cdef readonly bytes signature
    cdef readonly str sig_scheme
    cdef readonly str client_did
    cdef readonly bytes client_node_id
    cdef readonly bytes task_id
    cdef readonly bytes receipt_nonce
    cdef readonly bytes challenge_nonce
    cdef readonly int proof_type
    cdef readonly bint result_ok
    cdef readonly int64_t bytes_verified
    cdef readonly int64_t started_at
    cdef readonly int64_t finished_at


cdef int require_receipts(list items) except -1:
    """Raise TypeError unless each item is a SignedReceipt: None would pass for one."""
    for item in items:
        if type(item) is not SignedReceipt:
            raise TypeError(f"a SignedReceipt, not {type(item).__name__}")
    return 0


cdef inline unsigned char *put_varint(unsigned char *out, uint64_t value) noexcept nogil:
    while value >= 0x80:
        out[0] = <unsigned char>(value & 0x7F) | 0x80
        value >>= 7
        out += 1
    out[0] = <unsigned char>value
    return out + 1


cdef inline unsigned char *put_integer(unsigned char *out, int number, uint64_t value) noexcept nogil:
    if value == 0:
        return out
    out[0] = <unsigned char>(number << 3)
    return put_varint(out + 1, value)


cdef inline unsigned char *put_bytes(unsigned char *out, int number, Span value) noexcept nogil:
    if value.size == 0:
        return out
    out[0] = <unsigned char>(number << 3 | 2)
    out = put_varint(out + 1, <uint64_t>value.size)
    memcpy(out, value.data, <size_t>value.size)
    return out + value.size


cdef inline Py_ssize_t varint_size(uint64_t value) noexcept nogil:
    cdef Py_ssize_t size = 1
    while value >= 0x80:
        value >>= 7
        size += 1
    return size


cdef inline Py_ssize_t bytes_size(Span value) noexcept nogil:
    return 1 + varint_size(<uint64_t>value.size) + value.size if value.size else 0


cdef Py_ssize_t encode(const Fields *f, unsigned char *start) noexcept nogil:
    """Write the canonical bytes of checked fields; return how many."""
    cdef unsigned char *out = start
    out = put_integer(out, 1, f.version)
    out = put_bytes(out, 2, f.task_id)
    out = put_bytes(out, 3, f.client_did)
    out = put_bytes(out, 4, f.client_node_id)
    out = put_bytes(out, 5, f.provider_id)
    out = put_bytes(out, 6, f.content_id)
    out = put_integer(out, 7, f.proof_type)
    out = put_integer(out, 8, f.bytes_verified)
    out = put_integer(out, 9, f.result_ok)
    out = put_integer(out, 10, f.started_at)
    out = put_integer(out, 11, f.finished_at)
    out = put_bytes(out, 12, f.receipt_nonce)
    out = put_bytes(out, 13, f.challenge_nonce)
    if f.has_aux:
        out[0] = 14 << 3 | 2
        out = put_varint(
            out + 1,
            <uint64_t>(bytes_size(f.merkle_root) + bytes_size(f.proof_digest) + bytes_size(f.context)),
        )
        out = put_bytes(out, 1, f.merkle_root)
        out = put_bytes(out, 2, f.proof_digest)
        out = put_bytes(out, 3, f.context)
    return out - start


cdef inline bint outside(Span value, Py_ssize_t low, Py_ssize_t high) noexcept nogil:
    return value.size < low or value.size > high


cdef const char *check_fields(const Fields *f) noexcept nogil:
    """Return what is malformed, or NULL. Everything that encodes these fields relies on these bounds."""
    if f.version != 1:
        return b"receipt.version: must be 1"
    if outside(f.task_id, 16, 32):
        return b"receipt.task_id: must have 16 to 32 bytes"
    if outside(f.client_did, 1, MAX_DID):
        return b"receipt.client_did: must have 1 to 256 bytes"
    if outside(f.client_node_id, 32, 32):
        return b"receipt.client_node_id: must have 32 bytes"
    if outside(f.provider_id, 0, 64):
        return b"receipt.provider_id: must have at most 64 bytes"
    if outside(f.content_id, 1, 64):
        return b"receipt.content_id: must have 1 to 64 bytes"
    if f.proof_type > WEB4_CONTENT_SERVED:
        return b"receipt.proof_type: is not a known proof type"
    if f.bytes_verified > MAX_INTEGER:
        return b"receipt.bytes_verified: must be below 2^63"
    if f.result_ok > 1:
        return b"receipt.result_ok: must be true or false"
    if f.started_at > MAX_INTEGER:
        return b"receipt.started_at: must be below 2^63"
    if f.finished_at > MAX_INTEGER:
        return b"receipt.finished_at: must be below 2^63"
    if f.started_at > f.finished_at:
        return b"receipt.started_at: must not be after finished_at"
    if outside(f.receipt_nonce, 16, 32):
        return b"receipt.receipt_nonce: must have 16 to 32 bytes"
    if outside(f.challenge_nonce, 16, 32):
        return b"receipt.challenge_nonce: must have 16 to 32 bytes"
    if outside(f.merkle_root, 0, 64):
        return b"receipt.aux.merkle_root: must have at most 64 bytes"
    if outside(f.proof_digest, 0, 64):
        return b"receipt.aux.proof_digest: must have at most 64 bytes"
    if outside(f.context, 0, MAX_CONTEXT):
        return b"receipt.aux.context: must have at most 4096 bytes"
    return NULL


cdef str check_context(const Fields *f):
    """Return what a web4 receipt's context lacks, or None."""
    try:
        context = orjson.loads(to_bytes(f.context))
    except orjson.JSONDecodeError:
        context = None
    if type(context) is not dict:
        return "receipt.aux.context: must be a JSON object for this proof type"
    cid = (<dict>context).get("manifest_cid")
    if type(cid) is not str or not cid:
        return "receipt.aux.context: needs a non-empty string manifest_cid"
    if f.proof_type == WEB4_CONTENT_SERVED and type((<dict>context).get("served_from_cache")) is not bool:
        return "receipt.aux.context: needs true or false as served_from_cache"
    return None


cdef inline bytes to_bytes(Span value):
    return PyBytes_FromStringAndSize(<const char *>value.data, value.size) if value.size else b""


cdef str fill(SignedReceipt receipt, const Fields *f, unsigned char *room):
    """Check the fields and move them into the receipt; return the fault, or None."""
    cdef const char *fault = check_fields(f)
    if not outside(f.receipt_nonce, 16, 32):
        receipt.receipt_nonce = to_bytes(f.receipt_nonce)
    if fault != NULL:
        return fault.decode("ascii")
    if f.proof_type >= WEB4_MANIFEST_ROUTE:
        context_fault = check_context(f)
        if context_fault is not None:
            return context_fault
    receipt.body = PyBytes_FromStringAndSize(<char *>room, encode(f, room))
    receipt.client_did = PyUnicode_FromStringAndSize(<const char *>f.client_did.data, f.client_did.size)
    receipt.client_node_id = to_bytes(f.client_node_id)
    receipt.task_id = to_bytes(f.task_id)
    receipt.challenge_nonce = to_bytes(f.challenge_nonce)
    receipt.proof_type = <int>f.proof_type
    receipt.result_ok = f.result_ok != 0
    receipt.bytes_verified = <int64_t>f.bytes_verified
    receipt.started_at = <int64_t>f.started_at
    receipt.finished_at = <int64_t>f.finished_at
    return None
