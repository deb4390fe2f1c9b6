"""Builds procmem.native._native, the cffi shim (API mode, one abi3 library).

Run by setup.py; it must not import procmem, which is not built yet.
"""

from __future__ import annotations

from pathlib import Path

from cffi import FFI

HERE = Path(__file__).parent

ffi = FFI()
ffi.cdef(
    """
    enum { PM_START, PM_END, PM_OFFSET, PM_INODE, PM_DEV, PM_PERMS_NAME, PM_FLAGS_RAW,
           PM_HEADER_WORDS };
    #define PM_MAPS ...
    #define PM_SMAPS ...
    #define PM_RESIDENT ...
    #define PM_OK ...
    #define PM_BAD_TEXT ...
    #define PM_NO_MEMORY ...

    typedef struct { size_t offset; size_t length; } pm_string;
    typedef struct { uint64_t region; uint64_t value; uint32_t key; uint32_t text;
                     uint32_t in_kb; } pm_extra;
    typedef struct {
        uint64_t *words; size_t count; size_t stride;
        char *arena; size_t arena_size;
        pm_string *strings; size_t string_count;
        pm_extra *extras; size_t extra_count;
        size_t lines; int unterminated; int disordered;
        const char *error; char *error_line; size_t error_line_size;
        ...;
    } pm_scan;
    extern const char *const pm_counter_names[];
    extern const size_t pm_counter_count;

    pm_scan *pm_scan_new(int mode, uint64_t seed);
    int pm_scan_feed(pm_scan *scan, const char *data, size_t size);
    int pm_scan_finish(pm_scan *scan);
    void pm_scan_release_text(pm_scan *scan);
    void pm_scan_free(pm_scan *scan);

    typedef struct { uint64_t record; uint64_t page_size; uint32_t name_size; char name[...];
    } pm_vma;
    int pm_query_vma(int maps_fd, uint64_t address, int or_next, uint64_t *record, pm_vma *out);
    #define PM_CANT_READ ...
    int64_t pm_scan_read(pm_scan *scan, int fd, uint64_t limit);
    int pm_is_proc(int fd);

    #define PM_RSS ...
    #define PM_SWAP ...
    #define PM_HUGE ...
    #define PM_RESIDENCY_WORDS ...
    #define PM_MISSING ...
    typedef struct { uint64_t stray; uint64_t huge; ...; } pm_residency;
    int pm_residency_scan(int pagemap_fd, uint64_t *words, size_t count, size_t stride, size_t at,
                          pm_residency *out);
    int pm_residency_read(int pagemap_fd, uint64_t *words, size_t count, size_t stride, size_t at,
                          uint64_t page_size, pm_residency *out);
    uint64_t pm_total_swap(void);

    enum { PM_ABSENT, PM_ANON, PM_ANON_SHARED, PM_FILE, PM_FILE_SHARED, PM_ZERO, PM_IN_SWAP,
           PM_GUARDED, PM_STATES };
    typedef struct { size_t count; size_t segment_count; ...; } pm_pages;
    pm_pages *pm_pages_new(void);
    void pm_pages_free(pm_pages *pages);
    int pm_pages_add(pm_pages *pages, uint64_t page, const uint64_t *entries, size_t count);
    int pm_pages_read(pm_pages *pages, int fd, uint64_t page_size, uint64_t *page, uint64_t last,
                      int scan, uint64_t zero_frame);
    uint64_t pm_pages_entry(const pm_pages *pages, uint64_t page);
    void pm_pages_copy(const pm_pages *pages, uint64_t first, uint64_t last, uint64_t *out);
    uint64_t pm_pages_count(const pm_pages *pages, uint64_t first, uint64_t last, uint64_t mask,
                            uint64_t value);
    void pm_pages_states(const pm_pages *pages, uint64_t first, uint64_t last, uint64_t *out);
    size_t pm_pages_runs(const pm_pages *pages, uint64_t *page, uint64_t last, uint64_t *out,
                         size_t room);
    void pm_pages_row(const pm_pages *pages, uint64_t first, uint64_t last, size_t width,
                      unsigned char *out);
    size_t pm_pages_frames(const pm_pages *pages, uint64_t *page, uint64_t last,
                           const uint64_t *frames, size_t frame_count, uint64_t *out,
                           size_t room);

    #define PM_SIZE_WORDS ...
    int pm_elf_size(const char *path, uint64_t *out);
    """
)
ffi.set_source(
    "procmem.native._native",
    '#include "scanner.h"\n#include "kernel.h"\n#include "elfsize.h"\n#include "pagemap.h"\n',
    sources=[
        "procmem/native/scanner.c",
        "procmem/native/kernel.c",
        "procmem/native/elfsize.c",
        "procmem/native/pagemap.c",
    ],
    include_dirs=["procmem/native"],
    depends=[
        "procmem/native/scanner.h",
        "procmem/native/kernel.h",
        "procmem/native/elfsize.h",
        "procmem/native/pagemap.h",
    ],
    extra_compile_args=["-O2", "-Wall", "-Wextra"],
    py_limited_api=True,
)
