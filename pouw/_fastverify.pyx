# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False
"""The C side of a batch: scan the body, decode receipts to canonical bytes, verify signatures.

libsodium is the one that PyNaCl carries; its functions are looked up when this module is imported. Each public
function checks and copies pointers under the GIL; signatures are then verified in one loop without it.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.dict cimport PyDict_GetItem
from cpython.object cimport PyObject
from cpython.unicode cimport PyUnicode_FromStringAndSize
from libc.stdint cimport int64_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy
from posix.dlfcn cimport RTLD_NOW, dlerror, dlopen, dlsym

import nacl._sodium
import orjson

cdef extern from "Python.h":
    const char *PyUnicode_AsUTF8AndSize(object text, Py_ssize_t *size)  # NULL with an error set, see utf8()
    void PyErr_Clear()
    long long PyLong_AsLongLongAndOverflow(object value, int *overflow) except? -1


# -- libsodium ------------------------------------------------------------------------------------------------

ctypedef int (*init_function)() noexcept nogil
ctypedef int (*verify_function)(
    const unsigned char *signature, const unsigned char *message, unsigned long long size,
    const unsigned char *key,
) noexcept nogil

cdef verify_function verify_detached = NULL


def bind_libsodium(path):
    """Look up what this module needs in the libsodium at ``path``; ImportError says what is missing."""
    global verify_detached
    cdef bytes encoded = str(path).encode()
    cdef void *library = dlopen(encoded, RTLD_NOW)
    if library == NULL:
        raise ImportError(f"pouw needs the libsodium inside PyNaCl, which cannot be opened: {dlerror().decode()}")
    cdef void *init = dlsym(library, b"sodium_init")
    cdef void *verify_symbol = dlsym(library, b"crypto_sign_ed25519_verify_detached")
    if init == NULL or verify_symbol == NULL:
        raise ImportError(
            f"pouw needs a libsodium that exports crypto_sign_ed25519_verify_detached; {path} does not. "
            "Install PyNaCl from its wheel."
        )
    if (<init_function>init)() < 0:
        raise ImportError(f"The libsodium in {path} could not initialise its random generator.")
    verify_detached = <verify_function>verify_symbol


bind_libsodium(nacl._sodium.__file__)


# -- the body, before any parser sees it ----------------------------------------------------------------------

def scan_json(bytes body not None):
    """Measure a JSON text without building anything: ``(members, values, depth, digits)``.

    ``members`` counts the colons outside strings, ``values`` the commas and opening brackets, ``depth`` is the
    deepest nesting and ``digits`` the longest run of digits. For a text that a strict parser then accepts,
    ``members`` is the number of object members, repeated names included.
    """
    cdef const unsigned char *at = <const unsigned char *>PyBytes_AS_STRING(body)
    cdef const unsigned char *end = at + PyBytes_GET_SIZE(body)
    cdef Py_ssize_t members = 0, values = 0, depth = 0, deepest = 0, digits = 0, longest = 0
    cdef unsigned char c
    cdef bint in_string = False
    with nogil:
        while at < end:
            c = at[0]
            at += 1
            if in_string:
                if c == b'"':
                    in_string = False
                elif c == b"\\":
                    at += 1
                continue
            if b"0" <= c <= b"9":
                digits += 1
                if digits > longest:
                    longest = digits
                continue
            digits = 0
            if c == b'"':
                in_string = True
            elif c == b":":
                members += 1
            elif c == b",":
                values += 1
            elif c == b"{" or c == b"[":
                values += 1
                depth += 1
                if depth > deepest:
                    deepest = depth
            elif c == b"}" or c == b"]":
                depth -= 1
    return members, values, deepest, longest


def count_members(value):
    """Count the object members in a decoded JSON value, at any depth that ``scan_json`` let pass."""
    cdef Py_ssize_t total = 0
    if type(value) is dict:
        total = len(<dict>value)
        for item in (<dict>value).values():
            if type(item) is dict or type(item) is list:
                total += count_members(item)
    elif type(value) is list:
        for item in <list>value:
            if type(item) is dict or type(item) is list:
                total += count_members(item)
    return total


# -- one receipt, whatever encoding it came in ------------------------------------------------------------------

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
    """One receipt as it arrived. ``fault`` is None, or says what is malformed; then only the nonce may be set."""

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
    return PyBytes_FromStringAndSize(<const char *>value.data, value.size)


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


# -- JSON -------------------------------------------------------------------------------------------------------

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
    # What reading one JSON receipt shares: room for decoded hex, members seen, and the first fault.
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


# -- signatures -------------------------------------------------------------------------------------------------

cdef struct Job:
    const unsigned char *signature
    const unsigned char *message
    unsigned long long size


cdef void verify_all(const Job *jobs, Py_ssize_t count, const unsigned char *key, unsigned char *valid) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(count):
        valid[i] = verify_detached(jobs[i].signature, jobs[i].message, jobs[i].size, key) == 0


def verify(list messages not None, list signatures not None, bytes key not None):
    """Verify ``signatures[i]`` over ``messages[i]`` under one 32-byte Ed25519 key, without the GIL.

    Returns ``bytes`` as long as the lists: 1 where the signature is valid, 0 where it is not. The rule is that of
    libsodium's ``crypto_sign_ed25519_verify_detached`` for each pair alone (RFC 8032, 5.1.7, made strict). Raises
    ValueError where the lists differ in length or the key is not 32 bytes, TypeError for anything but bytes.
    """
    cdef tuple held_messages = tuple(messages)  # nothing may free these while the GIL is away
    cdef tuple held_signatures = tuple(signatures)
    cdef Py_ssize_t count = len(held_messages), i
    cdef const unsigned char *key_bytes = <const unsigned char *>PyBytes_AS_STRING(key)
    cdef unsigned char *results
    cdef unsigned char no_signature[64]
    cdef Job *jobs
    if len(held_signatures) != count:
        raise ValueError("there are not as many signatures as messages")
    if PyBytes_GET_SIZE(key) != 32:
        raise ValueError("an Ed25519 public key has 32 bytes")
    valid = PyBytes_FromStringAndSize(NULL, count)
    results = <unsigned char *>PyBytes_AS_STRING(valid)
    jobs = <Job *>malloc(<size_t>max(count, 1) * sizeof(Job))
    if jobs == NULL:
        raise MemoryError
    for i in range(64):
        no_signature[i] = 0xFF  # S of all ones is never below the group order
    try:
        for i in range(count):
            message, signature = held_messages[i], held_signatures[i]
            if type(message) is not bytes or type(signature) is not bytes:
                raise TypeError("messages and signatures must be bytes")
            jobs[i].message = <const unsigned char *>PyBytes_AS_STRING(message)
            jobs[i].size = <unsigned long long>PyBytes_GET_SIZE(message)
            jobs[i].signature = no_signature
            if PyBytes_GET_SIZE(signature) == 64:
                jobs[i].signature = <const unsigned char *>PyBytes_AS_STRING(signature)
        with nogil:
            verify_all(jobs, count, key_bytes, results)
    finally:
        free(jobs)
    return valid
