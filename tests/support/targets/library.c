/* A shared library whose data, bss, read-only and relro parts have known places. */
#include <stdint.h>

unsigned char library_data[DATA_BYTES] = {1};
unsigned char library_bss[BSS_BYTES];
const unsigned char library_rodata[RODATA_BYTES] = {1};
void *const library_relro[2] = {library_data, library_bss};

void target_library(uintptr_t parts[5]);

void target_library(uintptr_t parts[5])
{
    parts[0] = (uintptr_t)&target_library;
    parts[1] = (uintptr_t)library_data;
    parts[2] = (uintptr_t)library_bss;
    parts[3] = (uintptr_t)library_rodata;
    parts[4] = (uintptr_t)library_relro;
}
