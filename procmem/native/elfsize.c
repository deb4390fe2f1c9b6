/* Sizes of plain ELF files.  The rules are those of procmem/elf/sections.py; here
 * stand only the easy ones: what they don't cover is left to Python. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* O_PATH */
#endif
#include "elfsize.h"

#include <elf.h>
#include <endian.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define HEAD 1024 /* the ELF header and most program headers, in one read */
#define MOST_SECTIONS 512
#define NS 1000000000
#define SHT_RELR_TYPE 19 /* SHT_RELR: newer than some headers */

#if __BYTE_ORDER == __LITTLE_ENDIAN
#define OUR_ORDER ELFDATA2LSB
#else
#define OUR_ORDER ELFDATA2MSB
#endif

/* Sizes that the two classes differ in; headers of ELF32 are widened to ELF64. */
struct widths {
    size_t header, section, segment, symbol, rel, rela, word;
};

static const struct widths widths_of[] = {
    [ELFCLASS32] = {sizeof(Elf32_Ehdr), sizeof(Elf32_Shdr), sizeof(Elf32_Phdr),
                    sizeof(Elf32_Sym), sizeof(Elf32_Rel), sizeof(Elf32_Rela), 4},
    [ELFCLASS64] = {sizeof(Elf64_Ehdr), sizeof(Elf64_Shdr), sizeof(Elf64_Phdr),
                    sizeof(Elf64_Sym), sizeof(Elf64_Rel), sizeof(Elf64_Rela), 8},
};

static const struct widths *widths(const Elf64_Ehdr *head)
{
    return &widths_of[head->e_ident[EI_CLASS]];
}

static int is_within(uint64_t offset, uint64_t size, uint64_t limit)
{
    return size <= limit && offset <= limit - size;
}

static int is_plain_type(uint32_t type)
{
    return type == SHT_PROGBITS || type == SHT_NOBITS || type == SHT_NOTE ||
           type == SHT_INIT_ARRAY || type == SHT_FINI_ARRAY || type == SHT_PREINIT_ARRAY ||
           type == SHT_HASH || type == SHT_GNU_HASH || type == SHT_DYNAMIC ||
           type >= SHT_LOOS; /* all but SHT_GNU_versym, which has its own rule */
}

static int is_plain_header(const Elf64_Ehdr *head, uint64_t size)
{
    return head->e_ident[EI_VERSION] == EV_CURRENT && head->e_type != ET_CORE &&
           head->e_shoff >= widths(head)->header &&
           head->e_shentsize == widths(head)->section && head->e_shnum > 1 &&
           head->e_shnum <= MOST_SECTIONS && head->e_shstrndx > 0 &&
           head->e_shstrndx < head->e_shnum && head->e_phnum != PN_XNUM &&
           is_within(head->e_shoff, (uint64_t)head->e_shnum * widths(head)->section, size) &&
           is_within(head->e_phoff, (uint64_t)head->e_phnum * widths(head)->segment, size);
}

/* Whether relocations are kept apart by GNU, so that they count nowhere: they
 * are of an object, and of a section that is one for GNU too. */
static int is_plain_relocation(const Elf64_Ehdr *head, const Elf64_Shdr *all,
                               const Elf64_Shdr *one)
{
    size_t entry = one->sh_type == SHT_REL ? widths(head)->rel : widths(head)->rela;

    if (one->sh_entsize != entry || one->sh_info >= head->e_shnum)
        return 0;
    if (one->sh_flags & SHF_ALLOC)
        return head->e_type == ET_EXEC || head->e_type == ET_DYN;
    return is_plain_type(all[one->sh_info].sh_type);
}

/* Whether a section is plain, judging by its own header. */
static int is_plain(const Elf64_Ehdr *head, const Elf64_Shdr *all, uint32_t index, uint64_t size)
{
    const Elf64_Shdr *one = &all[index];

    if (one->sh_link >= head->e_shnum ||
        one->sh_flags & (SHF_GROUP | SHF_LINK_ORDER) ||
        (one->sh_flags & SHF_INFO_LINK && one->sh_info >= head->e_shnum) ||
        one->sh_name >= all[head->e_shstrndx].sh_size ||
        (one->sh_addralign & (~one->sh_addralign + 1)) == UINT64_C(1) << 63)
        return 0;
    if (one->sh_type != SHT_NOBITS && !is_within(one->sh_offset, one->sh_size, size))
        return 0;
    switch (one->sh_type) {
    case SHT_SYMTAB:
    case SHT_DYNSYM:
        return one->sh_entsize == widths(head)->symbol &&
               one->sh_info <= one->sh_size / widths(head)->symbol &&
               (one->sh_type == SHT_DYNSYM || !(one->sh_flags & SHF_ALLOC));
    case SHT_STRTAB:
        return one->sh_link == 0 && (index != head->e_shstrndx || !(one->sh_flags & SHF_ALLOC));
    case SHT_REL:
    case SHT_RELA:
        return is_plain_relocation(head, all, one);
    case SHT_RELR_TYPE:
        return one->sh_entsize == widths(head)->word;
    case SHT_GNU_versym:
        return one->sh_entsize == 2;
    default:
        return is_plain_type(one->sh_type);
    }
}

static int sum(const Elf64_Ehdr *head, const Elf64_Shdr *all, uint64_t size, uint64_t *out)
{
    uint32_t index, symbols = 0, dynamic = 0, symbols_at = 0;

    if (all[head->e_shstrndx].sh_type != SHT_STRTAB ||
        !all[head->e_shstrndx].sh_size)
        return 1;
    for (index = 1; index < head->e_shnum; index++) {
        const Elf64_Shdr *one = &all[index];
        int writable = one->sh_flags & SHF_WRITE, code = one->sh_flags & SHF_EXECINSTR;
        int kind = one->sh_type == SHT_NOBITS ? PM_BSS : PM_DATA;

        if (!is_plain(head, all, index, size))
            return 1;
        if (one->sh_type == SHT_SYMTAB)
            symbols++, symbols_at = index;
        dynamic += one->sh_type == SHT_DYNSYM;
        if (!(one->sh_flags & SHF_ALLOC))
            continue;
        out[code || !writable ? PM_TEXT : kind] += one->sh_size;
        out[PM_GNU_TEXT + (code ? PM_TEXT : kind)] += one->sh_size;
    }
    if (symbols > 1 || dynamic > 1)
        return 1;
    return symbols && all[all[symbols_at].sh_link].sh_type == SHT_STRTAB &&
           all[all[symbols_at].sh_link].sh_flags & SHF_ALLOC;
}

/* The ELF header, of either class; 0 if it is none of this machine's byte order. */
static int take_header(const unsigned char *bytes, size_t got, Elf64_Ehdr *to)
{
    Elf32_Ehdr narrow;

    if (got < sizeof *to || memcmp(bytes, ELFMAG, SELFMAG) || bytes[EI_DATA] != OUR_ORDER)
        return 0;
    memcpy(to, bytes, sizeof *to);
    if (bytes[EI_CLASS] == ELFCLASS64)
        return 1;
    memcpy(&narrow, bytes, sizeof narrow);
    to->e_phoff = narrow.e_phoff;
    to->e_shoff = narrow.e_shoff;
    to->e_phnum = narrow.e_phnum;
    to->e_shentsize = narrow.e_shentsize;
    to->e_shnum = narrow.e_shnum;
    to->e_shstrndx = narrow.e_shstrndx;
    return bytes[EI_CLASS] == ELFCLASS32;
}

/* Makes ELF64 headers of ELF32 ones in place, from the last: none is
 * overwritten before it is read. */
static void widen(Elf64_Shdr *table, size_t count)
{
    while (count--) {
        Elf32_Shdr one;
        Elf64_Shdr wide;

        memcpy(&one, (const char *)table + count * sizeof one, sizeof one);
        wide.sh_name = one.sh_name;
        wide.sh_type = one.sh_type;
        wide.sh_flags = one.sh_flags;
        wide.sh_addr = one.sh_addr;
        wide.sh_offset = one.sh_offset;
        wide.sh_size = one.sh_size;
        wide.sh_link = one.sh_link;
        wide.sh_info = one.sh_info;
        wide.sh_addralign = one.sh_addralign;
        wide.sh_entsize = one.sh_entsize;
        table[count] = wide;
    }
}

/* Whether no program header makes GNU warn. */
static int are_plain_segments(const unsigned char *bytes, size_t got, const Elf64_Ehdr *head)
{
    size_t width = widths(head)->segment, i;

    if (!is_within(head->e_phoff, head->e_phnum * width, got))
        return head->e_phnum == 0;
    for (i = 0; i < head->e_phnum; i++) {
        const unsigned char *at = bytes + head->e_phoff + i * width;
        uint64_t align;
        Elf32_Phdr narrow;
        Elf64_Phdr wide;

        if (width == sizeof narrow) {
            memcpy(&narrow, at, sizeof narrow);
            align = narrow.p_align;
        } else {
            memcpy(&wide, at, sizeof wide);
            align = wide.p_align;
        }
        if (align & (align - 1))
            return 0;
    }
    return 1;
}

static int read_all(pm_reader *read, void *file, void *to, size_t size, uint64_t at)
{
    return read(file, to, size, at) == (int64_t)size;
}

int pm_elf_sum(pm_reader *read, void *file, uint64_t size, uint64_t *out)
{
    unsigned char bytes[HEAD];
    Elf64_Ehdr head;
    Elf64_Shdr table[MOST_SECTIONS];
    const Elf64_Shdr *names;
    int64_t got = read(file, bytes, sizeof bytes, 0);
    char last;

    memset(out, 0, PM_SIZE_WORDS * sizeof *out);
    if (got < 0 || !take_header(bytes, (size_t)got, &head) || !is_plain_header(&head, size) ||
        !are_plain_segments(bytes, (size_t)got, &head) ||
        !read_all(read, file, table, head.e_shnum * widths(&head)->section, head.e_shoff))
        return 1;
    if (widths(&head)->section != sizeof *table)
        widen(table, head.e_shnum);
    names = &table[head.e_shstrndx];
    return sum(&head, table, size, out) ||
           !read_all(read, file, &last, 1, names->sh_offset + names->sh_size - 1) || last != 0;
}

static int64_t read_file(void *file, void *to, size_t size, uint64_t at)
{
    return pread(*(const int *)file, to, size, (off_t)at);
}

int pm_elf_size(const char *path, uint64_t *out)
{
    struct stat found;
    char link[sizeof "/proc/self/fd/" + 3 * sizeof(int)];
    int handle, fd, status;

    /* Opening a device may already do something, and a name may lead to another file at any
     * time: so the inode is taken hold of first, which opens nothing. */
    handle = open(path, O_PATH | O_CLOEXEC);
    if (handle < 0)
        return 1;
    if (fstat(handle, &found) || !S_ISREG(found.st_mode) || found.st_size < 0) {
        close(handle);
        return 1;
    }
    snprintf(link, sizeof link, "/proc/self/fd/%d", handle);
    fd = open(link, O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
    close(handle);
    if (fd < 0)
        return 1;
    status = pm_elf_sum(read_file, &fd, (uint64_t)found.st_size, out);
    close(fd);
    out[PM_DEVICE] = found.st_dev;
    out[PM_INODE_NUMBER] = found.st_ino;
    out[PM_FILE_SIZE] = (uint64_t)found.st_size;
    out[PM_MTIME_NS] = (uint64_t)found.st_mtim.tv_sec * NS + (uint64_t)found.st_mtim.tv_nsec;
    return status;
}
