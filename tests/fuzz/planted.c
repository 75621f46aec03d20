/* Faults for the fuzzer to find, behind three comparisons that chance alone passes once in 2^24 inputs. */
#include <limits.h>
#include <stddef.h>
#include <stdint.h>

int pouw_planted(const uint8_t *data, size_t size, int kind) {
    if (size < 3) return 1;
    if (data[0] != 'p') return 1;
    if (data[1] != 'o') return 1;
    if (data[2] != 'W') return 1;
    if (kind == 0) return data[size + 1] != 1;          /* behind the zero that ends every bytes object */
    if (kind == 1) return INT_MAX + (int)size > 0;      /* not defined */
    return 0;                                           /* what the caller forbids */
}
