# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False
"""The C side of a batch: scan the body, decode receipts to canonical bytes, check them, verify signatures.

The batch equation is in pouw/ed25519. libsodium is the one that PyNaCl carries; its functions are looked up when this
module is imported. Each public function checks and copies pointers under the GIL; signatures are then verified without it.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.dict cimport PyDict_GetItem
from cpython.object cimport PyObject
from cpython.unicode cimport PyUnicode_FromStringAndSize
from libc.stdint cimport int64_t, uint64_t
from libc.stdlib cimport free, malloc, qsort
from libc.string cimport memchr, memcmp, memcpy, memset
from posix.dlfcn cimport RTLD_NOW, dlerror, dlopen, dlsym

import nacl._sodium
import orjson

cdef extern from "Python.h":
    const char *PyUnicode_AsUTF8AndSize(object text, Py_ssize_t *size)  # NULL with an error set, see utf8()
    void PyErr_Clear()
    long long PyLong_AsLongLongAndOverflow(object value, int *overflow) except? -1

include "_fast/libsodium.pxi"
include "_fast/scan.pxi"
include "_fast/receipt.pxi"
include "_fast/json.pxi"
include "_fast/protobuf.pxi"
include "_fast/checks.pxi"
include "_fast/signatures.pxi"
include "_fast/arrays.pxi"
include "_fast/claims.pxi"

bind_libsodium(nacl._sodium.__file__)
