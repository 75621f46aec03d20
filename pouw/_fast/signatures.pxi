# Verifying signatures: the door to pouw/ed25519 and to libsodium's loop, under one rule (see pouw/ed25519/verify.c).

cdef extern from "ed25519/verify.h" nogil:
    ctypedef struct ed25519_job:
        const unsigned char *signature
        const unsigned char *message
        size_t size
    ctypedef struct ed25519_key:
        pass
    int ED25519_PORTABLE, ED25519_AVX2, ED25519_IFMA, ED25519_PATHS
    void ed25519_init()
    int ed25519_has_path(int path)
    int ed25519_key_decode(ed25519_key *key, const unsigned char *encoded)
    int ed25519_verify(const ed25519_job *jobs, size_t count, const ed25519_key *key, int path, int search,
                       random_function random, unsigned char *valid)

cdef dict PATH_NUMBERS = {"portable": ED25519_PORTABLE, "avx2": ED25519_AVX2, "ifma": ED25519_IFMA}

ENGINES = ("batch", "libsodium")
PATHS = tuple(name for name, number in PATH_NUMBERS.items() if ed25519_has_path(number))

ed25519_init()


@cython.final
cdef class PublicKey:
    """A 32-byte Ed25519 public key, decoded once for any number of batches.

    ``valid`` tells whether it is the canonical encoding of a point of prime order; under any other no signature is
    valid. Raises ValueError unless it has 32 bytes.
    """

    cdef ed25519_key decoded
    cdef bytes encoded
    cdef readonly bint valid

    def __cinit__(self, bytes key not None):
        if PyBytes_GET_SIZE(key) != 32:
            raise ValueError("an Ed25519 public key has 32 bytes")
        self.encoded = key
        self.valid = ed25519_key_decode(&self.decoded, <const unsigned char *>PyBytes_AS_STRING(key))


cdef int libsodium_verify(
    const ed25519_job *jobs, Py_ssize_t count, const unsigned char *encoded, const ed25519_key *key, int path,
    unsigned char *valid,
) noexcept nogil:
    """libsodium's loop. It works without the cofactor, so what it refuses is looked at once more with it."""
    cdef Py_ssize_t i
    for i in range(count):
        valid[i] = verify_detached(jobs[i].signature, jobs[i].message, jobs[i].size, encoded) == 0
        if not valid[i] and ed25519_verify(&jobs[i], 1, key, path, 1, random_bytes, &valid[i]) < 0:
            return -1
    return 0


def verify(
    list messages not None, list signatures not None, PublicKey key not None, str engine="batch", str path=None,
    bint search=True,
):
    """Verify ``signatures[i]`` over ``messages[i]`` under one Ed25519 key, without the GIL.

    Returns ``bytes`` as long as the lists: 1 where the signature is valid, 0 where it is not. The rule is that of
    docs/protocol.md for each pair alone (RFC 8032, 5.1.7, with the cofactor, made strict), whatever the engine, of
    ``ENGINES``, and the way in which it computes, of ``PATHS``: the last one unless told. Without ``search``, 0 may also
    mean that the batch engine has not looked which signatures are wrong among those of an equation that does not hold;
    that takes several times as long as the equation. Raises ValueError where the lists differ in length or this CPU has
    no such path, TypeError for anything but bytes.
    """
    cdef tuple held_messages = tuple(messages)  # nothing may free these while the GIL is away
    cdef tuple held_signatures = tuple(signatures)
    cdef Py_ssize_t count = len(held_messages), i
    cdef unsigned char *results
    cdef unsigned char no_signature[64]
    cdef const unsigned char *encoded
    cdef ed25519_job *jobs
    cdef int path_number, failed = 0
    cdef bint by_libsodium = engine == "libsodium"
    if len(held_signatures) != count:
        raise ValueError("there are not as many signatures as messages")
    if engine not in ENGINES:
        raise ValueError(f"there is no engine {engine!r}")
    if path is None:
        path = PATHS[len(PATHS) - 1]
    elif path not in PATHS:
        raise ValueError(f"this CPU has no path {path!r}")
    path_number = PATH_NUMBERS[path]
    valid = PyBytes_FromStringAndSize(NULL, count)
    results = <unsigned char *>PyBytes_AS_STRING(valid)
    memset(results, 0, <size_t>count)
    memset(no_signature, 0xFF, 64)  # an S of all ones is never below the group's order
    jobs = <ed25519_job *>malloc(<size_t>max(count, 1) * sizeof(ed25519_job))
    if jobs == NULL:
        raise MemoryError
    try:
        for i in range(count):
            message, signature = held_messages[i], held_signatures[i]
            if type(message) is not bytes or type(signature) is not bytes:
                raise TypeError("messages and signatures must be bytes")
            jobs[i].message = <const unsigned char *>PyBytes_AS_STRING(message)
            jobs[i].size = <size_t>PyBytes_GET_SIZE(message)
            jobs[i].signature = no_signature
            if PyBytes_GET_SIZE(signature) == 64:
                jobs[i].signature = <const unsigned char *>PyBytes_AS_STRING(signature)
        if key.valid:
            encoded = <const unsigned char *>PyBytes_AS_STRING(key.encoded)
            with nogil:
                if by_libsodium:
                    failed = libsodium_verify(jobs, count, encoded, &key.decoded, path_number, results)
                else:
                    failed = ed25519_verify(
                        jobs, <size_t>count, &key.decoded, path_number, search, random_bytes, results
                    )
        if failed:
            raise MemoryError
    finally:
        free(jobs)
    return valid
