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

    typedef struct { const uint64_t *words; size_t stride; const uint32_t *which; size_t count;
    } pm_rows;
    typedef struct { size_t word; uint64_t mask, value; } pm_when;
    size_t pm_column_words(const pm_rows *rows, size_t word, const pm_when *when, int negative,
                           uint64_t mask, uint64_t *out, unsigned char *valid);
    void pm_column_block(const pm_rows *rows, const uint32_t *words, size_t word_count,
                         uint64_t *out, unsigned char *valid, uint64_t *missing);
    void pm_column_seen(const pm_rows *rows, size_t word, unsigned shift, unsigned bits,
                        unsigned char *seen, size_t size);
    size_t pm_column_difference(const pm_rows *rows, size_t word, size_t less, uint64_t *out,
                                unsigned char *valid);
    void pm_column_totals(const pm_rows *rows, const uint32_t *words, size_t count, uint64_t *low,
                          uint64_t *high, uint64_t *missing);
    size_t pm_column_sum(const pm_rows *rows, size_t word, size_t more, uint64_t *out,
                         unsigned char *valid);
    size_t pm_column_parts(const pm_rows *rows, size_t word, unsigned shift, unsigned bits,
                           const uint32_t *table, size_t table_size, uint32_t *out,
                           unsigned char *valid);
    size_t pm_column_bits(const pm_rows *rows, size_t word, uint64_t mask, uint64_t value,
                          const pm_when *unless, unsigned char *out, unsigned char *valid);
    void pm_column_steps(uint64_t first, uint64_t step, size_t count, uint64_t *out);
    size_t pm_column_perms(const pm_rows *rows, char *out, int32_t *ends);
    size_t pm_column_devices(const pm_rows *rows, char *out, int32_t *ends);
    enum { PM_NAMED, PM_NOTED, PM_RESERVED, PM_BARRED, PM_EXECUTABLE, PM_APART, PM_BY_FILE,
           PM_STACK_LIKE, PM_HEAP_LIKE, PM_MARKS };
    int pm_column_marks(const pm_rows *rows, const unsigned char *noted, size_t noted_size,
                        uint64_t page_size, const uint64_t *heap_sizes, unsigned char *out);

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
    void pm_clear_at_end(int fd);
    int pm_shares_memory(int pid, int other);
    uint64_t pm_robust_list(int tid);
    uint64_t pm_robust_list_32(int tid);

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
    int pm_pages_scan(pm_pages *pages, int fd, uint64_t page_size, uint64_t *page, uint64_t last);
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

    #define PM_NO_GROUP ...
    typedef struct { size_t count, set_count; ...; } pm_sharing;
    pm_sharing *pm_sharing_new(void);
    void pm_sharing_free(pm_sharing *sharing);
    int pm_sharing_add(pm_sharing *sharing, const pm_pages *pages, uint64_t first, uint64_t last,
                       uint32_t member, uint64_t *own);
    int pm_sharing_settle(pm_sharing *sharing, int kpagecount_fd);
    int pm_sharing_groups(const pm_sharing *sharing, const uint32_t *groups, uint64_t *out);
    void pm_sharing_open(const pm_sharing *sharing, unsigned char *out);
    enum { PM_KIN_SHARED, PM_KIN_COPIED, PM_KIN_OWN, PM_KIN_FILE, PM_KIN_SWAPPED, PM_KINS };
    void pm_pages_kin(const pm_pages *child, const pm_pages *parent, uint64_t first,
                      uint64_t last, int frames, uint64_t *out);

    typedef struct { uint64_t cached, dirty, writeback, evicted, recently_evicted; } pm_cached;
    int pm_cachestat(int fd, uint64_t offset, uint64_t length, pm_cached *out);
    int pm_file_resident(int fd, uint64_t page, uint64_t count, uint64_t page_size,
                         unsigned char *out);
    int pm_file_entries(int fd, int pagemap, uint64_t page, uint64_t count, uint64_t page_size,
                        uint64_t *out);
    size_t pm_frames_of_groups(const uint64_t *words, size_t count, uint64_t first,
                               const uint64_t *groups, size_t group_count, uint64_t *out);

    #define PM_SIZE_WORDS ...
    int pm_elf_size(const char *path, uint64_t *out);

    #define PM_COMPARED ...
    enum { PM_NAME_NONE, PM_NAME_BREAK, PM_NAME_KERNEL, PM_NAME_OTHER, PM_NAME_PATH };
    typedef struct { const uint64_t *words; size_t count, stride; const uint32_t *strings;
                     uint32_t counters[...]; } pm_side;
    typedef struct { const unsigned char *names; const uint32_t *lasting, *paths;
                     uint64_t page_size; int64_t minor, major; int faults_known, measured;
    } pm_terms;
    enum { PM_MAPPED, PM_UNMAPPED, PM_MOVED, PM_GROWN, PM_SHRUNK, PM_SPLIT, PM_MERGED,
           PM_PROTECTED, PM_RENAMED, PM_ADVISED, PM_TOUCHED, PM_DROPPED, PM_SWAPPED, PM_COPIED,
           PM_SHARING, PM_LAZY, PM_HUGE_PAGES, PM_KSM, PM_HUGETLB, PM_KINDS };
    enum { PM_NOTHING_UNSHARED, PM_ALL_COPIED, PM_SHARER_ENDED, PM_OTHERS_CHANGED, PM_EITHER };
    enum { PM_STILL_UNWRITABLE, PM_STILL_WRITABLE, PM_SHARER_LEFT };
    #define PM_KNOWS_RSS ...
    #define PM_KNOWS_SWAP ...
    #define PM_KNOWS_COPIED ...
    #define PM_KNOWS_FAULTS ...
    #define PM_KNOWS_UNSHARED ...
    #define PM_KNOWS_HUGE ...
    #define PM_KNOWS_LAZY ...
    #define PM_KNOWS_KSM ...
    #define PM_KNOWS_HUGETLB ...
    typedef struct { uint64_t start; int64_t vsz, rss, swap, copied, minor, major;
                     uint32_t kinds, known, before, before_count, after, after_count;
                     int64_t unshared, huge, lazy, ksm, hugetlb;
                     uint32_t is_file, early; } pm_change;
    typedef struct { pm_change *changes; size_t count; uint32_t *members; size_t member_count;
                     int64_t vsz, rss, minor, major; uint64_t unshared, spare;
                     uint32_t verdict, still_shared; } pm_changes;
    pm_changes *pm_compare(const pm_side *before, const pm_side *after, const pm_terms *terms);
    void pm_changes_free(pm_changes *changes);
    """
)
# ---- the heap of malloc (procmem.heap) ----

ffi.cdef(
    """
    enum { PM_HEAP_END, PM_HEAP_BAD, PM_HEAP_ABSENT, PM_HEAP_SWAPPED, PM_HEAP_UNREAD,
           PM_HEAP_NO_MEMORY };
    #define PM_HEAP_SMALL ...
    #define PM_HEAP_SIZES ...
    typedef struct { uint64_t address, size; } pm_chunk;
    typedef struct { pm_chunk *list; size_t count, room; } pm_chunks;
    #define PM_HEAP_HOLES ...
    typedef struct { uint64_t address, size, used, bytes; } pm_hole;
    typedef struct { uint64_t page, bytes, count, chunk, size; } pm_page_use;
    typedef struct pm_image { const struct pm_image *next; size_t size; ...; } pm_image;
    typedef struct {
        const pm_image *image;
        int probe; uint64_t steps; const pm_pages *pages; const pm_chunks *cached;
        pm_hole holes[...]; size_t hole_count; uint64_t largest_free;
        pm_page_use *uses; size_t use_count, full_pages, cached_at;
        uint64_t mark_size, in_use, used_count, free_bytes; uint64_t sizes[...];
        pm_chunks free, large, marked;
        uint64_t at, top_size, last_in_use, last_size, fence; int error; uint64_t pages_read;
        ...;
    } pm_heap;
    pm_heap *pm_heap_new(int pid, int mem, int pagemap, uint64_t page_size, uint64_t word,
                         uint64_t align);
    uint64_t pm_heap_seek(pm_heap *heap, uint64_t from, uint64_t end, uint64_t top, uint64_t step);
    int pm_heap_last_page(pm_heap *heap);
    void pm_heap_free(pm_heap *heap);
    void pm_heap_forget(pm_heap *heap);
    int pm_heap_words(pm_heap *heap, uint64_t address, size_t count, uint64_t *out);
    pm_image *pm_image_new(void);
    void pm_image_free(pm_image *image);
    int pm_image_add(pm_heap *heap, pm_image *image, uint64_t start, uint64_t end, size_t most);
    int pm_heap_walk(pm_heap *heap, uint64_t first, uint64_t end, uint64_t top);
    int pm_heap_list(pm_heap *heap, uint64_t first, int to_header, int mangled,
                 uint64_t size, size_t most, pm_chunks *out);
    int pm_heap_bin(pm_heap *heap, uint64_t bin, size_t most, pm_chunks *out);
    void pm_heap_sort(pm_chunks *chunks);
    void pm_heap_join(pm_chunks *chunks);
    uint64_t pm_heap_resident(const pm_chunks *chunks, const pm_pages *pages,
                              uint64_t page_size, uint64_t skip, int whole, pm_chunks *out);
    pm_chunks *pm_chunks_new(void);
    int pm_chunks_add(pm_chunks *chunks, uint64_t address, uint64_t size);
    int pm_chunks_add_all(pm_chunks *chunks, const pm_chunks *more);
    uint64_t pm_chunks_total(const pm_chunks *chunks);
    int pm_chunks_sizes(const pm_chunks *chunks, uint64_t *sizes, pm_chunks *large);
    void pm_chunks_free(pm_chunks *chunks);
    """
)
# ---- descriptors of processes, and what a pipe holds (procmem.procfs.descriptors) ----

ffi.cdef(
    """
    #define PM_FD_FIFOS ...
    #define PM_FD_SOCKETS ...
    #define PM_FD_ANON ...
    #define PM_FD_FILES ...
    typedef struct { uint64_t dev, inode, size, blocks, rdev; int32_t pid, fd;
                     uint32_t mode, links, access, name, name_size, owner; } pm_descriptor;
    typedef struct { uint64_t arguments[6]; int32_t pid, tid; int64_t call; } pm_blocked;
    typedef struct { int32_t pid; uint32_t name, name_size; } pm_owner;
    typedef struct { pm_descriptor *list; size_t count; pm_owner *owners; size_t owner_count;
                     pm_blocked *blocked; size_t blocked_count;
                     char *text; size_t text_size, seen; int lists_from; ...; } pm_descriptors;
    pm_descriptors *pm_descriptors_new(void);
    void pm_descriptors_free(pm_descriptors *found);
    int pm_descriptors_scan(pm_descriptors *found, int root, const char *directory, int pid,
                            unsigned kinds, uint64_t pipefs);
    int pm_blocked_scan(pm_descriptors *found, int root, int pid);
    typedef struct { uint64_t dev, inode; int32_t pid, fd; uint64_t capacity, waiting;
                     int32_t events, status; } pm_pipe;
    void pm_pipes_measure(pm_pipe *pipes, size_t count);

    typedef struct { int32_t value, pid, rising, for_zero; } pm_semaphore;
    typedef struct { uint64_t bytes, limit, messages; int32_t sender, receiver; } pm_queue;
    int pm_semaphore_read(int set, int number, pm_semaphore *out);
    int pm_queue_read(int id, pm_queue *out);
    """
)
# ---- calls of this process on its own memory (procmem.calls) ----

CALL_CONSTANTS = """
    PROT_NONE PROT_READ PROT_WRITE PROT_EXEC PROT_GROWSDOWN PROT_GROWSUP
    MAP_SHARED MAP_PRIVATE MAP_SHARED_VALIDATE MAP_DROPPABLE MAP_FIXED MAP_ANONYMOUS MAP_GROWSDOWN
    MAP_LOCKED MAP_NORESERVE MAP_POPULATE MAP_NONBLOCK MAP_STACK MAP_HUGETLB MAP_SYNC
    MAP_FIXED_NOREPLACE MAP_HUGE_SHIFT
    MREMAP_MAYMOVE MREMAP_FIXED MREMAP_DONTUNMAP MS_ASYNC MS_INVALIDATE MS_SYNC MLOCK_ONFAULT
    MADV_NORMAL MADV_RANDOM MADV_SEQUENTIAL MADV_WILLNEED MADV_DONTNEED MADV_FREE MADV_REMOVE
    MADV_DONTFORK MADV_DOFORK MADV_MERGEABLE MADV_UNMERGEABLE MADV_HUGEPAGE MADV_NOHUGEPAGE
    MADV_DONTDUMP MADV_DODUMP MADV_WIPEONFORK MADV_KEEPONFORK MADV_COLD MADV_PAGEOUT
    MADV_POPULATE_READ MADV_POPULATE_WRITE MADV_DONTNEED_LOCKED MADV_COLLAPSE MADV_HWPOISON
    MADV_SOFT_OFFLINE MADV_GUARD_INSTALL MADV_GUARD_REMOVE
    PM_MMAP PM_MUNMAP PM_MPROTECT PM_MREMAP PM_MADVISE PM_MLOCK PM_MLOCK2 PM_MUNLOCK PM_MINCORE
    PM_MSYNC PM_BRK PM_TOUCH_READ PM_TOUCH_WRITE PM_COPY PM_TRIP_READINGS
"""
ffi.cdef("".join(f"#define {name} ...\n" for name in CALL_CONSTANTS.split()))
ffi.cdef(
    """
    typedef struct {
        int64_t result; int error; int signal, code; uint64_t address;
        int64_t minor, major; int before_size, after_size;
        char before[...], after[...];
    } pm_outcome;
    int pm_perform(int operation, const uint64_t *arguments, uint64_t low, uint64_t high,
                   int statm, pm_outcome *out);
    typedef struct {
        int error; uint64_t start; int64_t minor, major; int sizes[...]; char readings[...][...];
    } pm_trip;
    void pm_brk_trip(int statm, uint64_t grow, uint64_t touch, uint64_t step, pm_trip *out);
    int64_t pm_hugetlb_page_size(int fd);
    """
)

# ---- the quiet helper (procmem.experiments) ----

SYSTEM_CALLS = """
    mmap munmap mprotect mremap madvise mlock mlock2 munlock mincore brk memfd_create ftruncate
    openat close wait4 prctl userfaultfd ioctl getpid
"""
ffi.cdef("".join(f"#define SYS_{name} ...\n" for name in SYSTEM_CALLS.split()))
ffi.cdef(
    """
    enum { PM_OP_NOTHING, PM_OP_CALL, PM_OP_TOUCH = 1048576, PM_OP_READ, PM_OP_JUMP, PM_OP_STORE,
           PM_OP_PIPE, PM_OP_FORK, PM_OP_MALLOC, PM_OP_CALLOC, PM_OP_REALLOC, PM_OP_FREE,
           PM_OP_TRIM, PM_OP_THREAD, PM_OP_JOIN };
    #define PM_SERVE_PINNED ...
    #define PM_SERVE_THP ...
    #define PM_UNKNOWN ...
    #define PM_SOURCE_STATUS ...
    #define PM_SOURCE_ROLLUP ...

    typedef struct { uint64_t op; uint64_t argument[6]; } pm_request;
    typedef struct { int64_t result; uint64_t minor; uint64_t major; uint64_t ns;
                     uint64_t signal; int64_t code; uint64_t address; } pm_reply;
    typedef struct { uint64_t vsz, rss, rss_anon, rss_file, rss_shmem, swap, hugetlb, locked,
                     page_tables, regions; } pm_figures;
    typedef struct {
        int request, reply, statm, status, maps, rollup, source, known, waiting;
        pm_figures figures; pm_request asked; pm_reply answer; pm_figures before;
        ...;
    } pm_specimen;
    int pm_specimen_read(pm_specimen *specimen);
    int pm_specimen_step(pm_specimen *specimen);
    int pm_specimen_ask(pm_specimen *specimen);
    long pm_specimen_fork(int request, int reply, long flags, long cpu);
    """
)
# ---- processes that are stopped while they are read (procmem.tracing.holding) ----

ffi.cdef(
    """
    typedef struct { int pid; uint64_t limit; int tid; size_t count; uint64_t began, end; ...; }
        pm_hold;
    int pm_hold_begin(pm_hold *hold);
    void pm_hold_end(pm_hold *hold);
    """
)
# ---- programs that are followed (procmem.tracing.tracer) ----

ffi.cdef(
    """
    enum { PM_EVENT_CALL, PM_EVENT_END, PM_EVENT_FOREIGN, PM_EVENT_BREAKS, PM_EVENT_LIMIT,
           PM_EVENT_SIGNAL, PM_EVENT_STOPPED, PM_EVENT_REFUSED };
    enum { PM_GIVES, PM_FREES, PM_COUNTS, PM_SIZES, PM_STORES };
    #define PM_CHOSEN ...
    #define PM_CALL_FAILED ...
    #define PM_CALL_ENDLESS ...
    #define PM_CALL_SHARED ...
    #define PM_CALL_BORROWED ...
    #define PM_CALL_REGION ...
    #define PM_CALL_MANY ...
    #define PM_UNREAD ...
    #define PM_TRACE_ROOM ...
    typedef struct {
        uint32_t size; uint16_t kind, call; int32_t pid, tid; uint32_t flags;
        uint32_t name_size, text_size; uint16_t within, made; uint64_t argument[6]; int64_t result;
        uint64_t began, ns, vsz_before, rss_before, vsz_after, rss_after;
        uint64_t region[...];
    } pm_event;
    extern const char *const pm_traced_names[];
    extern const size_t pm_traced_calls;
    typedef struct { uint64_t address; uint16_t function, role; } pm_symbol;
    #define PM_MOST_SYMBOLS ...
    #define PM_MOST_WHY ...
    typedef struct { uint64_t room, room_end; size_t count, why_size; pm_symbol one[...];
                     char why[...]; } pm_symbols;
    typedef void (*pm_find)(void *who, int pid, const uint64_t *region, const char *name,
                            size_t name_size, pm_symbols *out);
    extern "Python" void pm_find_symbols(void *, int, const uint64_t *, const char *, size_t,
                                         pm_symbols *);
    typedef struct { int follow, filtered, fds[3]; pm_find find; void *who; int64_t most;
                     int pid, exec_error, ended, status; } pm_tracer;
    pm_tracer *pm_trace_new(void);
    void pm_trace_free(pm_tracer *tracer);
    int pm_trace_can_filter(void);
    int pm_trace_launch(pm_tracer *tracer, const char *path, char **argv, char **envp,
                        const char *directory);
    int pm_trace_attach(pm_tracer *tracer, int pid);
    int pm_trace_run(pm_tracer *tracer);
    void pm_trace_end(pm_tracer *tracer, int drop);
    size_t pm_trace_take(pm_tracer *tracer, char *out, size_t room);
    size_t pm_displace(const uint8_t *code, size_t size, uint64_t from, uint64_t to, uint8_t *out,
                       uint8_t *length, uint8_t *moved);
    """
)
PARTS = (
    "scanner",
    "kernel",
    "elfsize",
    "pagemap",
    "sharing",
    "cache",
    "heap",
    "compare",
    "calls",
    "measure",
    "specimen",
    "breakpoints",
    "hold",
    "tracer",
    "descriptors",
    "sysv",
    "columns",
    "terminal",
)
ffi.set_source(
    "procmem.native._native",
    "#include <sys/syscall.h>\n"
    "#ifndef SYS_mmap\n#define SYS_mmap SYS_mmap2\n#endif\n"
    + "".join(f'#include "{name}.h"\n' for name in PARTS),
    sources=[f"procmem/native/{name}.c" for name in PARTS],
    include_dirs=["procmem/native"],
    depends=[f"procmem/native/{name}.h" for name in PARTS],
    define_macros=[("PM_HOSTED", None)],
    extra_compile_args=["-O2", "-Wall", "-Wextra"],
    # Python's own flags have -g; wheels would be four times as large.
    extra_link_args=["-Wl,--strip-debug"],
    py_limited_api=True,
)
