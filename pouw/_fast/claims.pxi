# Receipts that passed every check: what each asks for, and all of them as the columns that the database writes.

@cython.final
cdef class Claim:
    """One receipt that passed every check and asks to be credited.

    ``nonce_key`` holds 36 to 52 bytes (:func:`pouw.store.submissions.nonce_keys`), ``challenge_expires_at`` is in unix
    seconds. Raises ValueError for another size, and for a receipt that lacks what is stored of it.
    """

    cdef readonly bytes nonce_key
    cdef readonly int64_t challenge_expires_at
    cdef readonly SignedReceipt receipt

    def __cinit__(self, bytes nonce_key not None, int64_t challenge_expires_at, SignedReceipt receipt not None):
        if not LEAST_KEY_SIZE <= PyBytes_GET_SIZE(nonce_key) <= MOST_KEY_SIZE:
            raise ValueError(
                f"a key of {LEAST_KEY_SIZE} to {MOST_KEY_SIZE} bytes, not {PyBytes_GET_SIZE(nonce_key)}"
            )
        if (
            receipt.receipt_nonce is None
            or receipt.challenge_nonce is None
            or receipt.body is None
            or receipt.signature is None
        ):
            raise ValueError("a receipt that was decoded without a fault")
        self.nonce_key = nonce_key
        self.challenge_expires_at = challenge_expires_at
        self.receipt = receipt


cdef enum:
    LEAST_KEY_SIZE = 36
    MOST_KEY_SIZE = 52


cdef struct Entry:
    # A claim as it is sorted: where its key is, and where the claim stands in its list.
    const char *key
    Py_ssize_t size
    Py_ssize_t place


cdef int in_order(const void *left, const void *right) noexcept nogil:
    # As PostgreSQL orders bytea: by bytes, and of two where one begins the other, the shorter first.
    cdef const Entry *a = <const Entry *>left
    cdef const Entry *b = <const Entry *>right
    cdef int order = memcmp(a.key, b.key, <size_t>min(a.size, b.size))
    return order if order else (a.size > b.size) - (a.size < b.size)


cdef int require_claims(list items) except -1:
    """Raise TypeError unless each item is a Claim: None would pass for one."""
    for item in items:
        if type(item) is not Claim:
            raise TypeError(f"a Claim, not {type(item).__name__}")
    return 0


@cython.boundscheck(True)
def claim_passed(
    list receipts not None, list failures not None, dict keys not None, dict challenges not None
):
    """Return a :class:`Claim` for each receipt without a failure, by its index.

    ``keys`` holds the receipts' nonce keys by index, and ``challenges`` objects with ``expires_at`` by nonce.
    Raises IndexError and KeyError for what is not there.
    """
    cdef SignedReceipt receipt
    cdef object challenge, last = None
    cdef int64_t expires_at = 0
    cdef Py_ssize_t index
    cdef dict claims = {}
    require_receipts(receipts)
    for place, key in keys.items():
        index = place
        if index < 0:
            raise IndexError(index)
        if failures[index] is None:
            receipt = receipts[index]
            challenge = challenges[receipt.challenge_nonce]
            if challenge is not last:
                expires_at, last = challenge.expires_at, challenge
            claims[place] = Claim(key, expires_at, receipt)
    return claims


@cython.final
cdef class Room:
    """What a challenge still takes, in receipts and in bytes, and what was taken of it."""

    cdef readonly int64_t receipts
    cdef readonly int64_t bytes
    cdef readonly int64_t receipts_taken
    cdef readonly int64_t bytes_taken

    def __init__(self, int64_t receipts, int64_t size):
        self.receipts = receipts
        self.bytes = size


cdef inline str refusal(Claim claim, set seen, Room room):
    if claim.nonce_key in seen:
        return "duplicate_nonce"
    if room is None:
        return "unknown_challenge"
    if room.receipts < 1:
        return "too_many_receipts"
    if room.bytes < claim.receipt.bytes_verified:
        return "too_many_bytes"
    return None


def take_room(dict claims not None, set taken not None, room_of):
    """Take room for claims in their order.

    ``taken`` are the nonce keys that were credited before. ``room_of`` returns the :class:`Room` of a challenge
    nonce, or None; it is asked once for each. A refused claim takes no room and no nonce. Returns the names of what
    stands against the refused ones, by index, which are those of the protocol's details; and the rooms by nonce.
    """
    cdef Claim claim
    cdef Room room = None
    cdef bytes nonce = None
    cdef set seen = set(taken)
    cdef dict refused = {}, rooms = {}
    require_claims(list(claims.values()))
    for index, claim in claims.items():
        if claim.receipt.challenge_nonce is not nonce:
            nonce = claim.receipt.challenge_nonce
            if nonce not in rooms:
                rooms[nonce] = room_of(nonce)
            room = rooms[nonce]
        reason = refusal(claim, seen, room)
        if reason is not None:
            refused[index] = reason
            continue
        room.receipts -= 1
        room.receipts_taken += 1
        room.bytes -= claim.receipt.bytes_verified
        room.bytes_taken += claim.receipt.bytes_verified
        seen.add(claim.nonce_key)
    return refused, rooms


cdef enum Column:
    RECEIPT_NONCE
    CHALLENGE_NONCE
    PROOF_TYPE
    BYTES_VERIFIED
    RESULT_OK
    BODY
    SIGNATURE


cdef inline bytes field_of(SignedReceipt receipt, Column column):
    if column == RECEIPT_NONCE:
        return receipt.receipt_nonce
    if column == CHALLENGE_NONCE:
        return receipt.challenge_nonce
    return receipt.body if column == BODY else receipt.signature


cdef inline int64_t number_of(SignedReceipt receipt, Column column) noexcept:
    if column == PROOF_TYPE:
        return receipt.proof_type
    return receipt.bytes_verified if column == BYTES_VERIFIED else receipt.result_ok


cdef bytes pack_fields(list claims, Column column):
    cdef Py_ssize_t count = len(claims), size = ARRAY_HEAD + 4 * count, i
    cdef bytes field
    for i in range(count):
        field = field_of((<Claim>claims[i]).receipt, column)
        size += PyBytes_GET_SIZE(field)
    packed = PyBytes_FromStringAndSize(NULL, size)
    out = put_head(<unsigned char *>PyBytes_AS_STRING(packed), BYTEA_OID, count)
    for i in range(count):
        field = field_of((<Claim>claims[i]).receipt, column)
        size = PyBytes_GET_SIZE(field)
        out = put_big_endian(out, <uint64_t>size, 4)
        memcpy(out, PyBytes_AS_STRING(field), <size_t>size)
        out += size
    return packed


cdef bytes pack_numbers(list claims, Column column, int oid):
    cdef Py_ssize_t count = len(claims), i
    cdef int width = width_of(oid)
    cdef int64_t number
    packed = PyBytes_FromStringAndSize(NULL, ARRAY_HEAD + (4 + width) * count)
    out = put_head(<unsigned char *>PyBytes_AS_STRING(packed), oid, count)
    for i in range(count):
        number = number_of((<Claim>claims[i]).receipt, column)
        out = put_big_endian(put_big_endian(out, <uint64_t>width, 4), <uint64_t>number, width)
    return packed


cdef tuple pack_nonces(list claims):
    """Pack the nonce keys in their order, and the end of each one's challenge."""
    cdef Py_ssize_t count = len(claims), size = ARRAY_HEAD + 4 * count, i
    cdef Entry *entries = <Entry *>malloc(<size_t>count * sizeof(Entry))
    cdef unsigned char *out
    cdef unsigned char *expiry
    cdef bytes key
    if entries == NULL:
        raise MemoryError
    for i in range(count):
        key = (<Claim>claims[i]).nonce_key
        entries[i] = Entry(PyBytes_AS_STRING(key), PyBytes_GET_SIZE(key), i)
        size += entries[i].size
    qsort(entries, <size_t>count, sizeof(Entry), &in_order)
    try:
        keys = PyBytes_FromStringAndSize(NULL, size)
        expiries = PyBytes_FromStringAndSize(NULL, ARRAY_HEAD + (4 + 8) * count)
        out = put_head(<unsigned char *>PyBytes_AS_STRING(keys), BYTEA_OID, count)
        expiry = put_head(<unsigned char *>PyBytes_AS_STRING(expiries), INT8_OID, count)
        for i in range(count):
            out = put_big_endian(out, <uint64_t>entries[i].size, 4)
            memcpy(out, entries[i].key, <size_t>entries[i].size)
            out += entries[i].size
            expiry = put_big_endian(expiry, 8, 4)
            expiry = put_big_endian(expiry, <uint64_t>(<Claim>claims[entries[i].place]).challenge_expires_at, 8)
        return keys, expiries
    finally:
        free(entries)


def pack_claims(list claims not None):
    """Return columns of :class:`Claim` objects, each packed as :func:`pack_array` does.

    First nonce_key (bytea) and challenge_expires_at (int8), sorted by key. Then, in the list's order,
    receipt_nonce, challenge_nonce (bytea), proof_type (int2), bytes_verified (int8), result_ok (bool), body, signature
    (bytea). Raises TypeError for anything else.
    """
    require_claims(claims)
    if not claims:
        kinds = (BYTEA_OID, INT8_OID, BYTEA_OID, BYTEA_OID, INT2_OID, INT8_OID, BOOL_OID, BYTEA_OID, BYTEA_OID)
        return tuple([pack_array(kind, []) for kind in kinds])
    return (
        *pack_nonces(claims),
        pack_fields(claims, RECEIPT_NONCE),
        pack_fields(claims, CHALLENGE_NONCE),
        pack_numbers(claims, PROOF_TYPE, INT2_OID),
        pack_numbers(claims, BYTES_VERIFIED, INT8_OID),
        pack_numbers(claims, RESULT_OK, BOOL_OID),
        pack_fields(claims, BODY),
        pack_fields(claims, SIGNATURE),
    )
