# Verifying signatures.

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
