# Receipts and batches out of protobuf bytes.

cdef struct Cursor:
    const unsigned char *at
    const unsigned char *end


cdef bint read_varint(Cursor *cursor, uint64_t *value) noexcept nogil:
    """Read a minimal varint of at most 64 bits; False where there is none."""
    cdef int shift = 0
    cdef unsigned char byte
    value[0] = 0
    while cursor.at < cursor.end and shift < 64:
        byte = cursor.at[0]
        cursor.at += 1
        if shift == 63 and byte > 1:
            return False
        value[0] |= <uint64_t>(byte & 0x7F) << shift
        if byte < 0x80:
            return byte != 0 or shift == 0
        shift += 7
    return False


cdef bint read_span(Cursor *cursor, Span *value) noexcept nogil:
    """Read a length and point at as many bytes; False where they are not there."""
    cdef uint64_t size
    if not read_varint(cursor, &size) or size > <uint64_t>(cursor.end - cursor.at):
        return False
    value.data = cursor.at
    value.size = <Py_ssize_t>size
    cursor.at += size
    return True


cdef inline uint64_t *integer_slot(Fields *f, uint64_t number) noexcept nogil:
    if number == 1:
        return &f.version
    if number == 7:
        return &f.proof_type
    if number == 8:
        return &f.bytes_verified
    if number == 9:
        return &f.result_ok
    if number == 10:
        return &f.started_at
    if number == 11:
        return &f.finished_at
    return NULL


cdef inline Span *span_slot(Fields *f, uint64_t number) noexcept nogil:
    if number == 2:
        return &f.task_id
    if number == 3:
        return &f.client_did
    if number == 4:
        return &f.client_node_id
    if number == 5:
        return &f.provider_id
    if number == 6:
        return &f.content_id
    if number == 12:
        return &f.receipt_nonce
    if number == 13:
        return &f.challenge_nonce
    return NULL


cdef bint parse_aux(Span value, Fields *f) noexcept nogil:
    cdef Cursor cursor
    cdef uint64_t tag
    cdef Span *slot
    cursor.at = value.data
    cursor.end = value.data + value.size
    while cursor.at < cursor.end:
        if not read_varint(&cursor, &tag):
            return False
        if tag == (1 << 3 | 2):
            slot = &f.merkle_root
        elif tag == (2 << 3 | 2):
            slot = &f.proof_digest
        elif tag == (3 << 3 | 2):
            slot = &f.context
        else:
            return False
        if not read_span(&cursor, slot):
            return False
    return True


cdef bint parse_receipt(Span value, Fields *f) noexcept nogil:
    """Read the fields in whatever order they stand. Whether the bytes were canonical, encoding them again tells."""
    cdef Cursor cursor
    cdef uint64_t tag
    cdef uint64_t *integer
    cdef Span aux
    cdef Span *span
    memset(f, 0, sizeof(Fields))
    cursor.at = value.data
    cursor.end = value.data + value.size
    while cursor.at < cursor.end:
        if not read_varint(&cursor, &tag):
            return False
        if tag == (14 << 3 | 2):
            f.has_aux = True
            if not read_span(&cursor, &aux) or not parse_aux(aux, f):
                return False
        elif tag & 7 == 0:
            integer = integer_slot(f, tag >> 3)
            if integer == NULL or not read_varint(&cursor, integer):
                return False
        elif tag & 7 == 2:
            span = span_slot(f, tag >> 3)
            if span == NULL or not read_span(&cursor, span):
                return False
        else:
            return False
    return True


cdef str read_wrapper(Span value, Span *receipt, Span *scheme, Span *signature):
    """Take a canonical ``SignedReceipt`` apart; return the fault, or None."""
    cdef Cursor cursor
    cdef uint64_t tag, last = 0
    cdef Span *slot
    receipt.size = scheme.size = signature.size = 0
    receipt.data = scheme.data = signature.data = NULL
    cursor.at = value.data
    cursor.end = value.data + value.size
    while cursor.at < cursor.end:
        if not read_varint(&cursor, &tag) or tag <= last or tag & 7 != 2 or not 1 <= tag >> 3 <= 3:
            return "is not a canonical SignedReceipt"
        slot = receipt if tag >> 3 == 1 else scheme if tag >> 3 == 2 else signature
        if not read_span(&cursor, slot) or (slot.size == 0 and slot != receipt):
            return "is not a canonical SignedReceipt"
        last = tag
    return None if receipt.data != NULL else "receipt: is missing"


cdef SignedReceipt decode_protobuf_item(bytes item):
    cdef SignedReceipt receipt = SignedReceipt.__new__(SignedReceipt)
    cdef Fields f
    cdef Span whole, body, scheme, signature
    cdef unsigned char room[BODY_ROOM]
    whole.data = <const unsigned char *>PyBytes_AS_STRING(item)
    whole.size = PyBytes_GET_SIZE(item)
    receipt.fault = read_wrapper(whole, &body, &scheme, &signature)
    if receipt.fault is not None:
        return receipt
    if not parse_receipt(body, &f):
        receipt.fault = "receipt: is not a canonical Receipt"
        return receipt
    try:
        to_bytes(f.context).decode()
        receipt.fault = fill(receipt, &f, room)
        receipt.sig_scheme = to_bytes(scheme).decode()
    except UnicodeDecodeError:
        receipt.fault = "holds a string that is not UTF-8"
    if receipt.fault is None:
        if PyBytes_GET_SIZE(receipt.body) != body.size or memcmp(
            PyBytes_AS_STRING(receipt.body), body.data, <size_t>body.size
        ):
            receipt.fault = "receipt: is not canonical"
        receipt.signature = to_bytes(signature)
    return receipt


def decode_protobuf(list items not None):
    """Decode the ``receipts`` of a protobuf batch: one :class:`SignedReceipt` for each ``bytes``, in order."""
    return [decode_protobuf_item(item) for item in items]


def split_batch(bytes body not None, Py_ssize_t most):
    """Take a canonical ``ReceiptBatch`` apart: ``(version, client_did, batch_nonce, items)``, the last three as bytes.

    No more than ``most + 1`` items are looked at. Raises ValueError for bytes that are not canonical.
    """
    cdef Cursor cursor
    cdef uint64_t tag, last = 0, version = 0
    cdef Span value, did, nonce
    cdef list items = []
    did.size = nonce.size = 0
    did.data = nonce.data = NULL
    cursor.at = <const unsigned char *>PyBytes_AS_STRING(body)
    cursor.end = cursor.at + PyBytes_GET_SIZE(body)
    while cursor.at < cursor.end and len(items) <= most:
        if not read_varint(&cursor, &tag) or tag < last or (tag == last and tag != (4 << 3 | 2)):
            raise ValueError("The body is not a canonical ReceiptBatch.")
        last = tag
        if tag == (1 << 3):
            if not read_varint(&cursor, &version) or version == 0:
                raise ValueError("The body is not a canonical ReceiptBatch.")
            continue
        if not read_span(&cursor, &value):
            raise ValueError("The body is not a canonical ReceiptBatch.")
        if tag == (4 << 3 | 2):
            items.append(to_bytes(value))
        elif value.size == 0:
            raise ValueError("The body is not a canonical ReceiptBatch.")
        elif tag == (2 << 3 | 2):
            did = value
        elif tag == (3 << 3 | 2):
            nonce = value
        else:
            raise ValueError("The body is not a canonical ReceiptBatch.")
    return version, to_bytes(did), to_bytes(nonce), items
