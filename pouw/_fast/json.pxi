# Receipts out of decoded JSON.

cdef object PROOF_TYPES = {
    "hash": 0, "merkle": 1, "signature": 2, "sig": 2,
    "web4manifestroute": 3, "web4_manifest_route": 3, "web4contentserved": 4, "web4_content_served": 4,
}

cdef signed char HEX[256]


cdef void fill_hex_table() noexcept:
    cdef int c
    for c in range(256):
        HEX[c] = -1
    for c in range(10):
        HEX[48 + c] = <signed char>c
    for c in range(6):
        HEX[97 + c] = <signed char>(10 + c)


fill_hex_table()


cdef struct Reader:
    # What reading one JSON receipt shares: room for decoded hex, and the members seen.
    unsigned char *room
    Py_ssize_t used
    Py_ssize_t members


cdef inline bint decode_hex(const char *text, Py_ssize_t size, unsigned char *out) noexcept nogil:
    cdef Py_ssize_t i
    cdef int high, low
    for i in range(0, size, 2):
        high = HEX[<unsigned char>text[i]]
        low = HEX[<unsigned char>text[i + 1]]
        if (high | low) < 0:
            return False
        out[i >> 1] = <unsigned char>(high << 4 | low)
    return True


cdef inline const char *utf8(object text, Py_ssize_t *size) noexcept:
    """Return the UTF-8 of a str, or NULL where it holds a lone surrogate."""
    cdef const char *encoded = PyUnicode_AsUTF8AndSize(text, size)
    if encoded == NULL:
        PyErr_Clear()
    return encoded


cdef str read_hex(Reader *reader, dict source, str name, Py_ssize_t most, bint optional, Span *out):
    """Read lower-case hex of at most ``most`` bytes; return the fault, or None."""
    cdef PyObject *found = PyDict_GetItem(source, name)
    cdef Py_ssize_t size
    cdef const char *text
    out.size = 0
    out.data = reader.room
    if found == NULL:
        return None if optional else "is missing"
    reader.members += 1
    value = <object>found
    if optional and value is None:
        return None
    if type(value) is not str:
        return "must be a string of lower-case hex"
    text = utf8(value, &size)
    if text == NULL:
        return "must be a string of lower-case hex"
    if size > 2 * most:
        return f"must have at most {most} bytes"
    if size % 2 or not decode_hex(text, size, reader.room + reader.used):
        return "must be lower-case hex, two digits for each byte"
    out.data = reader.room + reader.used
    out.size = size >> 1
    reader.used += out.size
    return None


cdef str read_integer(Reader *reader, dict source, str name, uint64_t *out):
    """Read a JSON integer, or the decimal string of one; return the fault, or None."""
    cdef PyObject *found = PyDict_GetItem(source, name)
    cdef int overflow = 0
    cdef long long number
    if found == NULL:
        return "is missing"
    reader.members += 1
    value = <object>found
    if type(value) is str:
        digits = <str>value
        if not (0 < len(digits) <= 19 and digits.isascii() and digits.isdigit()) or (
            digits[0] == "0" and len(digits) > 1
        ):
            return "must be an integer from 0 to 2^63 - 1"
        value = int(digits)
    elif type(value) is not int:
        return "must be an integer from 0 to 2^63 - 1"
    number = PyLong_AsLongLongAndOverflow(value, &overflow)
    if overflow or number < 0:
        return "must be an integer from 0 to 2^63 - 1"
    out[0] = <uint64_t>number
    return None


cdef str read_text(Reader *reader, object value, Py_ssize_t most, Span *out):
    """Read a string of at most ``most`` bytes of UTF-8; return the fault, or None."""
    cdef Py_ssize_t size
    if type(value) is not str:
        return "must be a string"
    out.data = <const unsigned char *>utf8(value, &size)
    if out.data == NULL:
        return "must be valid Unicode"
    if size > most:
        return f"must have at most {most} bytes of UTF-8"
    out.size = size
    return None


cdef str read_aux(Reader *reader, dict source, Fields *f):
    """Read the optional evidence, an object or a plain string; return the fault, or None."""
    cdef PyObject *found = PyDict_GetItem(source, "aux")
    cdef Py_ssize_t members = reader.members
    f.has_aux = False
    f.merkle_root.size = f.proof_digest.size = f.context.size = 0
    if found == NULL:
        return None
    members += 1
    value = <object>found
    if value is None:
        reader.members = members
        return None
    f.has_aux = True
    if type(value) is str:
        reader.members = members
        return prefixed("aux", read_text(reader, value, MAX_CONTEXT, &f.context))
    if type(value) is not dict:
        return "aux: must be an object or a string"
    reader.members = 0
    fault = prefixed("aux.merkle_root", read_hex(reader, value, "merkle_root", 64, True, &f.merkle_root))
    if fault is None:
        fault = prefixed("aux.proof_digest", read_hex(reader, value, "proof_digest", 64, True, &f.proof_digest))
    if fault is None:
        found = PyDict_GetItem(value, "context")
        if found != NULL:
            reader.members += 1
            if <object>found is not None:
                fault = prefixed("aux.context", read_text(reader, <object>found, MAX_CONTEXT, &f.context))
    if fault is None and reader.members != len(<dict>value):
        fault = "aux: holds an unknown member"
    reader.members = members
    return fault


cdef inline str prefixed(str name, str fault):
    return None if fault is None else f"{name}: {fault}"


cdef str read_proof_type(Reader *reader, dict source, uint64_t *out):
    cdef PyObject *found = PyDict_GetItem(source, "proof_type")
    if found == NULL:
        return "is missing"
    reader.members += 1
    value = <object>found
    if type(value) is not str or value not in PROOF_TYPES:
        return "is not a known proof type"
    out[0] = PROOF_TYPES[value]
    return None


cdef str read_flag(Reader *reader, dict source, str name, uint64_t *out):
    cdef PyObject *found = PyDict_GetItem(source, name)
    if found == NULL:
        return "is missing"
    reader.members += 1
    value = <object>found
    if value is not True and value is not False:
        return "must be true or false"
    out[0] = value is True
    return None


cdef str read_did(Reader *reader, dict source, Span *out):
    cdef PyObject *found = PyDict_GetItem(source, "client_did")
    if found == NULL:
        return "is missing"
    reader.members += 1
    return read_text(reader, <object>found, MAX_DID, out)


cdef str read_receipt(Reader *reader, dict source, Fields *f):
    """Read every field of a JSON receipt; return the first fault, or None. The nonce is read first: it names
    the receipt in the answer even where another field is malformed."""
    f.receipt_nonce.size = 0
    fault = prefixed("receipt_nonce", read_hex(reader, source, "receipt_nonce", 32, False, &f.receipt_nonce))
    if fault is None:
        fault = prefixed("version", read_integer(reader, source, "version", &f.version))
    if fault is None:
        fault = prefixed("task_id", read_hex(reader, source, "task_id", 32, False, &f.task_id))
    if fault is None:
        fault = prefixed("client_did", read_did(reader, source, &f.client_did))
    if fault is None:
        fault = prefixed("client_node_id", read_hex(reader, source, "client_node_id", 32, False, &f.client_node_id))
    if fault is None:
        fault = prefixed("provider_id", read_hex(reader, source, "provider_id", 64, True, &f.provider_id))
    if fault is None:
        fault = prefixed("content_id", read_hex(reader, source, "content_id", 64, False, &f.content_id))
    if fault is None:
        fault = prefixed("proof_type", read_proof_type(reader, source, &f.proof_type))
    if fault is None:
        fault = prefixed("bytes_verified", read_integer(reader, source, "bytes_verified", &f.bytes_verified))
    if fault is None:
        fault = prefixed("result_ok", read_flag(reader, source, "result_ok", &f.result_ok))
    if fault is None:
        fault = prefixed("started_at", read_integer(reader, source, "started_at", &f.started_at))
    if fault is None:
        fault = prefixed("finished_at", read_integer(reader, source, "finished_at", &f.finished_at))
    if fault is None:
        fault = prefixed("challenge_nonce", read_hex(reader, source, "challenge_nonce", 32, False, &f.challenge_nonce))
    if fault is None:
        fault = read_aux(reader, source, f)
    if fault is None and reader.members != len(source):
        fault = "holds an unknown member"
        return f"receipt: {fault}"
    return None if fault is None else f"receipt.{fault}"


cdef str read_signature(SignedReceipt receipt, object value):
    """Read the signature, of whatever length: a wrong length is a wrong signature, not a malformed receipt."""
    cdef Py_ssize_t size
    cdef const char *text
    if type(value) is not str:
        return "signature: must be a string of lower-case hex"
    text = utf8(value, &size)
    if text == NULL:
        return "signature: must be a string of lower-case hex"
    signature = PyBytes_FromStringAndSize(NULL, size >> 1)
    if size % 2 or not decode_hex(text, size, <unsigned char *>PyBytes_AS_STRING(signature)):
        return "signature: must be lower-case hex, two digits for each byte"
    receipt.signature = signature
    return None


cdef SignedReceipt decode_json_item(object item):
    cdef SignedReceipt receipt = SignedReceipt.__new__(SignedReceipt)
    cdef Fields f
    cdef Reader reader
    cdef unsigned char scratch[SCRATCH_ROOM]
    cdef unsigned char room[BODY_ROOM]
    if type(item) is not dict:
        receipt.fault = "must be an object with receipt, sig_scheme and signature"
        return receipt
    source = (<dict>item).get("receipt")
    if type(source) is not dict:
        receipt.fault = "receipt: must be an object"
        return receipt
    reader.room = scratch
    reader.used = 0
    reader.members = 0
    fault = read_receipt(&reader, <dict>source, &f)
    if fault is not None:
        if not outside(f.receipt_nonce, 16, 32):
            receipt.receipt_nonce = to_bytes(f.receipt_nonce)
        receipt.fault = fault
        return receipt
    receipt.fault = fill(receipt, &f, room)
    if receipt.fault is None:
        scheme = (<dict>item).get("sig_scheme")
        if type(scheme) is not str:
            receipt.fault = "sig_scheme: must be a string"
        else:
            receipt.sig_scheme = scheme
            receipt.fault = read_signature(receipt, (<dict>item).get("signature"))
    if receipt.fault is None and len(<dict>item) != 3:
        receipt.fault = "holds an unknown member"
    return receipt


def decode_json(list items not None):
    """Decode the list ``receipts`` of a JSON batch: one :class:`SignedReceipt` for each item, in order."""
    return [decode_json_item(item) for item in items]
