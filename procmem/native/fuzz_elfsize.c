/* Fuzzes the sizes of ELF files: under libFuzzer (clang -fsanitize=fuzzer), or
 * on the files of its arguments, once each (STANDALONE_FUZZ).
 *
 * The input is the file. It lies in a block of its own length, so that a read
 * behind its end is seen; reads come up short where its last byte says so. */
#include <stdio.h>
#include <stdlib.h>

#include "elfsize.c"

#define REQUIRE(true_thing)                                                                       \
    do {                                                                                          \
        if (!(true_thing)) {                                                                      \
            fprintf(stderr, "violated, line %d: %s\n", __LINE__, #true_thing);                    \
            abort();                                                                              \
        }                                                                                         \
    } while (0)

struct input {
    const unsigned char *data;
    size_t size;
    unsigned reads, short_read;
};

static int64_t read_input(void *file, void *to, size_t size, uint64_t at)
{
    struct input *input = file;

    if (at >= input->size)
        return at > INT64_MAX ? -1 : 0;
    if (size > input->size - at)
        size = input->size - (size_t)at;
    if (++input->reads == input->short_read)
        size /= 2;
    memcpy(to, input->data + at, size);
    return (int64_t)size;
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
    unsigned char *copy = malloc(size ? size : 1);
    struct input input = {copy, size, 0, size ? data[size - 1] % 8 : 0};
    uint64_t out[PM_SIZE_WORDS];
    int first;

    if (!copy)
        abort();
    if (size)
        memcpy(copy, data, size);
    first = pm_elf_sum(read_input, &input, size, out);
    REQUIRE(first == 0 || first == 1);
    /* Both views count the same sections. */
    if (!first)
        REQUIRE(out[PM_TEXT] + out[PM_DATA] + out[PM_BSS] ==
                out[PM_GNU_TEXT] + out[PM_GNU_DATA] + out[PM_GNU_BSS]);
    free(copy);
    return 0;
}

#ifdef STANDALONE_FUZZ
/* Runs each file as it is, and with bytes of its headers changed. */
int main(int count, char **paths)
{
    static unsigned char data[1 << 20];
    uint64_t random = UINT64_C(0x9E3779B97F4A7C15);
    int i, turn;

    for (i = 1; i < count; i++) {
        FILE *file = fopen(paths[i], "rb");
        size_t size = file ? fread(data, 1, sizeof data, file) : 0;

        if (file)
            fclose(file);
        LLVMFuzzerTestOneInput(data, size);
        for (turn = 0; turn < 20000 && size > 64; turn++) {
            unsigned char *place, before;

            random ^= random << 13, random ^= random >> 7, random ^= random << 17;
            place = data + (turn % 2 ? random % 64 : size - 1 - random % (size < 4096 ? size : 4096));
            before = *place;
            *place = (unsigned char)(random >> 40);
            LLVMFuzzerTestOneInput(data, size);
            if (turn % 4)
                *place = before;
        }
    }
    return 0;
}
#endif
