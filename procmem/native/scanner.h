/* The scanner: converts text of /proc/PID/maps or smaps, chunk by chunk, to packed
 * records.  It does not use Python, opens no files, and does not store the text:
 * only an unfinished last line is kept from one feed to the next. */
#ifndef PROCMEM_SCANNER_H
#define PROCMEM_SCANNER_H

#include <stddef.h>
#include <stdint.h>

/* A record is `stride` 64-bit words.  The header words come first; in a scan
 * of smaps a word per known counter follows, PM_MISSING where the kernel
 * printed none. */
enum {
    PM_START,
    PM_END,
    PM_OFFSET,
    PM_INODE,
    PM_DEV,        /* major in the high half, minor in the low half */
    PM_PERMS_NAME, /* name id in the high half, four permission bytes below */
    PM_FLAGS_RAW,  /* raw line id in the high half, VmFlags id below */
    PM_HEADER_WORDS
};

#define PM_MISSING UINT64_MAX

/* PM_RESIDENT: a text of maps, with space for PM_RESIDENCY_WORDS words in each record. */
enum { PM_MAPS, PM_SMAPS, PM_RESIDENT };
enum { PM_RSS, PM_SWAP, PM_HUGE, PM_RESIDENCY_WORDS };
enum { PM_OK = 0, PM_BAD_TEXT = -1, PM_NO_MEMORY = -2 };

/* Each string is stored once, in one arena; an id is an index in `strings`.
 * Id 0 means that there is no string. */
typedef struct {
    size_t offset;
    size_t length;
} pm_string;

/* A counter without a word of its own, because this build does not know it. */
typedef struct {
    uint64_t region;
    uint64_t value;
    uint32_t key;  /* string id of the name, without the colon */
    uint32_t text; /* string id of a value that is no number, else 0 */
    uint32_t in_kb;
} pm_extra;

typedef struct pm_scan {
    uint64_t *words;
    size_t count;
    size_t stride;

    char *arena;
    size_t arena_size;
    pm_string *strings;
    size_t string_count;

    pm_extra *extras;
    size_t extra_count;

    size_t lines;           /* lines read so far; the bad one's number on error */
    int unterminated;       /* the last line had no newline */
    int disordered;         /* a region starts below the end of the one before */
    const char *error;      /* what is wrong, a constant */
    char *error_line;       /* the bad line, without its newline */
    size_t error_line_size;

    struct pm_scan_state *state;
} pm_scan;

extern const char *const pm_counter_names[];
extern const size_t pm_counter_count;

/* NULL when there is no memory.  `seed` keeps hostile names from colliding. */
pm_scan *pm_scan_new(int mode, uint64_t seed);
int pm_scan_feed(pm_scan *scan, const char *data, size_t size);
/* The text has ended: takes an unterminated last line. */
int pm_scan_finish(pm_scan *scan);
/* Frees all but the records. */
void pm_scan_release_text(pm_scan *scan);
void pm_scan_free(pm_scan *scan);

#endif
