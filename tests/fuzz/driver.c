/* libFuzzer looks for its custom mutator by name when the library is linked; this one asks whom Python names. */
#include <stddef.h>
#include <stdint.h>

typedef size_t (*mutator)(uint8_t *data, size_t size, size_t most, unsigned int seed);

extern size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t most);

mutator pouw_mutator;

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t most, unsigned int seed) {
    return pouw_mutator(data, size, most, seed);
}
