# The functions of libsodium that this extension calls, looked up in PyNaCl's own library.

ctypedef int (*init_function)() noexcept nogil
ctypedef int (*verify_function)(
    const unsigned char *signature, const unsigned char *message, unsigned long long size,
    const unsigned char *key,
) noexcept nogil
ctypedef void (*random_function)(void *buffer, size_t size) noexcept nogil

cdef verify_function verify_detached = NULL
cdef random_function random_bytes = NULL


def bind_libsodium(path):
    """Look up what this module needs in the libsodium at ``path``; ImportError says what is missing."""
    global verify_detached, random_bytes
    cdef bytes encoded = str(path).encode()
    cdef void *library = dlopen(encoded, RTLD_NOW)
    if library == NULL:
        raise ImportError(f"pouw needs the libsodium inside PyNaCl, which cannot be opened: {dlerror().decode()}")
    cdef void *init = symbol(library, "sodium_init", path)
    cdef void *verify_symbol = symbol(library, "crypto_sign_ed25519_verify_detached", path)
    cdef void *random_symbol = symbol(library, "randombytes_buf", path)
    if (<init_function>init)() < 0:
        raise ImportError(f"The libsodium in {path} could not initialise its random generator.")
    verify_detached = <verify_function>verify_symbol
    random_bytes = <random_function>random_symbol


cdef void *symbol(void *library, str name, path) except NULL:
    cdef bytes encoded = name.encode()
    cdef void *found = dlsym(library, encoded)
    if found == NULL:
        raise ImportError(f"pouw needs a libsodium that exports {name}; {path} does not. Install PyNaCl from its wheel.")
    return found
