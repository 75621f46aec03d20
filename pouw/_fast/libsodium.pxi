# The functions of libsodium that this extension calls, looked up in PyNaCl's own library.

ctypedef int (*init_function)() noexcept nogil
ctypedef int (*verify_function)(
    const unsigned char *signature, const unsigned char *message, unsigned long long size,
    const unsigned char *key,
) noexcept nogil

cdef verify_function verify_detached = NULL

# A signature over "pouw" whose R has a part of order 8, and its key: valid with the cofactor, invalid without.
cdef bytes COFACTORED_VECTOR = bytes.fromhex(
    "828268ac5143bc0e0c659a94e142485f2ffd3dffb0afb2d776a1437c6ad8a356"
    "2016889acb9cafec095b601125b4b66edeeb6bb125ac10adafb84985d8093b07"
    "63190ba57c914c753c18e4b23929f7bd4aefb3d92fd42b98be9121e435e8b484"
)
cdef const unsigned char *COFACTORED = <const unsigned char *>PyBytes_AS_STRING(COFACTORED_VECTOR)


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
    if verify_detached(COFACTORED, <const unsigned char *>b"pouw", 4, COFACTORED + 64) == 0:
        raise ImportError(
            f"The libsodium in {path} verifies with the cofactor, and this protocol's rule is without: two nodes "
            "must not disagree about a signature. Install a PyNaCl whose libsodium is of the series 1.0.20."
        )
