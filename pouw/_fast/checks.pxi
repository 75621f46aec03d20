# The checks that a receipt has to pass before its signature: one function for each, cheapest first.

@cython.final
cdef class Terms:
    # What the receipts of a batch are compared with, and the challenge of the last one that named another.
    cdef str did
    cdef bytes key
    cdef object client_fault
    cdef str scheme
    cdef dict challenges
    cdef double now
    cdef int64_t skew
    cdef object challenge
    cdef bytes task_id
    cdef object bound_did
    cdef int64_t issued_at
    cdef int64_t expires_at
    cdef int64_t least_bytes
    cdef uint64_t allowed  # a bit for each proof type


cdef inline bint well_formed(SignedReceipt receipt) noexcept:
    return receipt.fault is None


cdef inline bint did_matches(SignedReceipt receipt, Terms terms) noexcept:
    return receipt.client_did == terms.did and receipt.client_node_id == terms.key


cdef bint challenge_known(SignedReceipt receipt, Terms terms) except -1:
    """Whether the node issued the challenge; what it grants is in the terms then."""
    cdef PyObject *found = PyDict_GetItem(terms.challenges, receipt.challenge_nonce)
    if found == NULL:
        return False
    if <object>found is not terms.challenge:
        challenge = <object>found
        terms.task_id = challenge.task_id
        terms.bound_did = challenge.bound_did
        terms.issued_at = challenge.issued_at
        terms.expires_at = challenge.expires_at
        terms.least_bytes = challenge.min_bytes_per_receipt
        terms.allowed = 0
        for kind in challenge.allowed_proof_types:
            if 0 <= kind < 64:
                terms.allowed |= <uint64_t>1 << <int>kind
        terms.challenge = challenge
    return True


cdef inline bint challenge_live(Terms terms) noexcept:
    return terms.now <= terms.expires_at


cdef inline bint bound_to_challenge(SignedReceipt receipt, Terms terms) noexcept:
    return (
        receipt.task_id == terms.task_id
        and (terms.bound_did is None or terms.did == <str>terms.bound_did)
        and receipt.started_at >= terms.issued_at - terms.skew
        and receipt.finished_at <= terms.now + terms.skew
    )


cdef inline bint proof_type_allowed(SignedReceipt receipt, Terms terms) noexcept:
    return (terms.allowed >> receipt.proof_type) & 1


cdef inline bint enough_bytes(SignedReceipt receipt, Terms terms) noexcept:
    return receipt.bytes_verified >= terms.least_bytes


cdef inline bint scheme_supported(SignedReceipt receipt, Terms terms) noexcept:
    return receipt.sig_scheme == terms.scheme


cdef object first_failure(SignedReceipt receipt, Terms terms):
    if not well_formed(receipt):
        return "malformed_receipt"
    if terms.client_fault is not None:
        return terms.client_fault
    if not did_matches(receipt, terms):
        return "did_mismatch"
    if not challenge_known(receipt, terms):
        return "unknown_challenge"
    if not challenge_live(terms):
        return "expired_challenge"
    if not bound_to_challenge(receipt, terms):
        return "invalid_challenge_binding"
    if not proof_type_allowed(receipt, terms):
        return "proof_type_not_allowed"
    if not enough_bytes(receipt, terms):
        return "too_few_bytes"
    if not scheme_supported(receipt, terms):
        return "unsupported_scheme"
    return None


def first_failures(
    list receipts not None, str did not None, bytes key, client_fault, dict challenges not None, double now,
    int64_t skew, str scheme not None,
):
    """Return for each :class:`SignedReceipt` the name of the first check that it fails, or None.

    The names are those of the protocol's details. ``did`` and ``key`` (32 bytes; None where it has none) are the
    client's, and ``client_fault`` is why it may not submit, or None. ``challenges`` are the known ones by their nonce:
    objects with ``task_id``, ``bound_did``, ``issued_at``, ``expires_at``, ``min_bytes_per_receipt`` and
    ``allowed_proof_types``. ``now`` and ``skew`` are in seconds.
    """
    cdef Terms terms = Terms.__new__(Terms)
    require_receipts(receipts)
    terms.did = did
    terms.key = key
    terms.client_fault = client_fault
    terms.challenges = challenges
    terms.now = now
    terms.skew = skew
    terms.scheme = scheme
    return [first_failure(receipt, terms) for receipt in receipts]
