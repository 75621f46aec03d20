# The functions of libsodium that this extension calls, looked up in PyNaCl's own library.

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

