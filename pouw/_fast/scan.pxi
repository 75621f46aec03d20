# The body of a request, before any parser sees it.

cdef inline const unsigned char *after_string(const unsigned char *at, const unsigned char *end) noexcept nogil:
    """Return where a string ends whose first character is at ``at``: behind its quote, or at the end of the text."""
    cdef const unsigned char *quote
    cdef const unsigned char *backslash
    while at < end:
        quote = <const unsigned char *>memchr(at, b'"', <size_t>(end - at))
        if quote == NULL:
            return end
        backslash = <const unsigned char *>memchr(at, b"\\", <size_t>(quote - at))
        if backslash == NULL:
            return quote + 1
        at = backslash + 2
    return end


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
    with nogil:
        while at < end:
            c = at[0]
            at += 1
            if b"0" <= c <= b"9":
                digits += 1
                if digits > longest:
                    longest = digits
                continue
            digits = 0
            if c == b'"':
                at = after_string(at, end)
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
