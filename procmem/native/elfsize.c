/* Sizes of plain ELF files.  The rules are those of procmem/elf/rules.py; here
 * stand only the easy ones: what they don't cover is left to Python. */
#include "elfsize.h"

#include <elf.h>
#include <endian.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define HEAD 1024 /* the ELF header and most program headers, in one read */
#define MOST_SECTIONS 512
#define NS 1000000000

#if __BYTE_ORDER == __LITTLE_ENDIAN
#define OUR_ORDER ELFDATA2LSB
#else
#define OUR_ORDER ELFDATA2MSB
#endif

static int is_within(uint64_t offset, uint64_t size, uint64_t limit)
{
    return size <= limit && offset <= limit - size;
}

static int is_plain_type(uint32_t type)
{
    return type == SHT_PROGBITS || type == SHT_NOBITS || type == SHT_NOTE ||
           type == SHT_INIT_ARRAY || type == SHT_FINI_ARRAY || type == SHT_PREINIT_ARRAY ||
           type == SHT_HASH || type == SHT_GNU_HASH || type == SHT_DYNAMIC ||
           type == SHT_GNU_verdef || type == SHT_GNU_verneed;
}

static int is_plain_header(const Elf64_Ehdr *head, uint64_t size)
{
    return !memcmp(head->e_ident, ELFMAG, SELFMAG) && head->e_ident[EI_CLASS] == ELFCLASS64 &&
           head->e_ident[EI_DATA] == OUR_ORDER && head->e_ident[EI_VERSION] == EV_CURRENT &&
           head->e_type != ET_CORE && head->e_shoff >= sizeof *head &&
           head->e_shentsize == sizeof(Elf64_Shdr) && head->e_shnum > 1 &&
           head->e_shnum <= MOST_SECTIONS && head->e_shstrndx > 0 &&
           head->e_shstrndx < head->e_shnum && head->e_phnum != PN_XNUM &&
           is_within(head->e_shoff, (uint64_t)head->e_shnum * sizeof(Elf64_Shdr), size) &&
           is_within(head->e_phoff, (uint64_t)head->e_phnum * sizeof(Elf64_Phdr), size);
}

/* Whether relocations are kept apart by GNU, so that they count nowhere: they
 * are of an object, and of a section that is one for GNU too. */
static int is_plain_relocation(const Elf64_Ehdr *head, const Elf64_Shdr *all,
                               const Elf64_Shdr *one)
{
    size_t entry = one->sh_type == SHT_REL ? sizeof(Elf64_Rel) : sizeof(Elf64_Rela);

    if (one->sh_entsize != entry || one->sh_info >= head->e_shnum)
        return 0;
    if (one->sh_flags & SHF_ALLOC)
        return head->e_type == ET_EXEC || head->e_type == ET_DYN;
    return is_plain_type(all[one->sh_info].sh_type);
}

/* Whether a section is one of the plain kind, as far as its own header tells. */
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
        return one->sh_entsize == sizeof(Elf64_Sym) &&
               one->sh_info <= one->sh_size / sizeof(Elf64_Sym) &&
               (one->sh_type == SHT_DYNSYM || !(one->sh_flags & SHF_ALLOC));
    case SHT_STRTAB:
        return one->sh_link == 0 && (index != head->e_shstrndx || !(one->sh_flags & SHF_ALLOC));
    case SHT_REL:
    case SHT_RELA:
        return is_plain_relocation(head, all, one);
    case SHT_GNU_versym:
        return one->sh_entsize == 2;
    default:
        return is_plain_type(one->sh_type);
    }
}

int pm_elf_sum(const void *headers, const void *table, uint64_t size, uint64_t *out)
{
    const Elf64_Ehdr *head = headers;
    const Elf64_Shdr *all = table;
    uint32_t index, symbols = 0, dynamic = 0, symbols_at = 0;

    memset(out, 0, PM_SIZE_WORDS * sizeof *out);
    if (!is_plain_header(head, size) || all[head->e_shstrndx].sh_type != SHT_STRTAB ||
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

static int read_all(int fd, void *to, size_t size, uint64_t at)
{
    return pread(fd, to, size, (off_t)at) == (ssize_t)size;
}

/* Whether no program header makes GNU warn. */
static int are_plain_segments(const unsigned char *head, size_t got, const Elf64_Ehdr *header)
{
    size_t i;

    if (!is_within(header->e_phoff, (uint64_t)header->e_phnum * sizeof(Elf64_Phdr), got))
        return header->e_phnum == 0;
    for (i = 0; i < header->e_phnum; i++) {
        Elf64_Phdr one;

        memcpy(&one, head + header->e_phoff + i * sizeof one, sizeof one);
        if (one.p_align & (one.p_align - 1))
            return 0;
    }
    return 1;
}

static int size_of(int fd, uint64_t size, uint64_t *out)
{
    union {
        Elf64_Ehdr header;
        unsigned char bytes[HEAD];
    } head;
    Elf64_Shdr table[MOST_SECTIONS];
    const Elf64_Shdr *names;
    ssize_t got = pread(fd, head.bytes, sizeof head.bytes, 0);
    char last;

    if (got < (ssize_t)sizeof head.header || !is_plain_header(&head.header, size) ||
        !are_plain_segments(head.bytes, (size_t)got, &head.header) ||
        !read_all(fd, table, head.header.e_shnum * sizeof *table, head.header.e_shoff) ||
        pm_elf_sum(&head.header, table, size, out))
        return 1;
    names = &table[head.header.e_shstrndx];
    return !read_all(fd, &last, 1, names->sh_offset + names->sh_size - 1) || last != 0;
}

int pm_elf_size(const char *path, uint64_t *out)
{
    struct stat found;
    int fd, status;

    /* Opening a device may already do something: it is asked first what it is. */
    if (stat(path, &found) || !S_ISREG(found.st_mode))
        return 1;
    fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
    if (fd < 0)
        return 1;
    status = fstat(fd, &found) || !S_ISREG(found.st_mode) || found.st_size < 0 ||
             size_of(fd, (uint64_t)found.st_size, out);
    close(fd);
    out[PM_DEVICE] = found.st_dev;
    out[PM_INODE_NUMBER] = found.st_ino;
    out[PM_FILE_SIZE] = (uint64_t)found.st_size;
    out[PM_MTIME_NS] = (uint64_t)found.st_mtim.tv_sec * NS + (uint64_t)found.st_mtim.tv_nsec;
    return status;
}
