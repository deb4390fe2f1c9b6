/* Four leaks, each of a different kind. Fix them: free or unmap everything that is allocated. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define BLOCKS 10
#define BLOCK (32 * 1024)
#define FRIENDS 20
#define TABLE 4096
#define PAGES 64

/* Prints what comes next, and waits for Enter. */
static void ask(const char *next)
{
    int c;

    printf("Press Enter to %s ...\n", next);
    do
        c = getchar();
    while (c != '\n' && c != EOF);
}

static void die(const char *what)
{
    perror(what);
    exit(EXIT_FAILURE);
}

/* ---- ten blocks ---------------------------------------------------------- */

static char *blocks[BLOCKS];

static void make_blocks(void)
{
    for (int i = 0; i < BLOCKS; i++) {
        blocks[i] = malloc(BLOCK);
        if (blocks[i] == NULL)
            die("malloc");
        memset(blocks[i], i, BLOCK);
    }
}

static void free_blocks(void)
{
    free(blocks[0]);        /* TODO: is that all of them? */
    for (int i = 0; i < BLOCKS; i++)
        blocks[i] = NULL;
}

/* ---- a list of names ----------------------------------------------------- */

struct friend {
    char *name;
    struct friend *next;
};

static struct friend *friends;

static char *make_name(int number)
{
    char *name = malloc(16);

    if (name == NULL)
        die("malloc");
    snprintf(name, 16, "friend %d", number);
    return name;
}

static void make_friends(void)
{
    for (int i = 0; i < FRIENDS; i++) {
        struct friend *one = malloc(sizeof(*one));

        if (one == NULL)
            die("malloc");
        one->name = make_name(i);
        one->next = friends;
        friends = one;
    }
}

static void free_friends(void)
{
    friends = NULL;            /* TODO: free everything that the list is made of. */
}

/* ---- a table that exists until the end ----------------------------------- */

static int *table;

static void make_table(void)
{
    table = malloc(TABLE);
    if (table == NULL)
        die("malloc");
    for (size_t i = 0; i < TABLE / sizeof(*table); i++)
        table[i] = i * i;
}

static void free_table(void)
{
    /* TODO: it is never freed. */
}

/* ---- a mapping ----------------------------------------------------------- */

static char *mapping;
static size_t length;

static void make_mapping(void)
{
    length = PAGES * sysconf(_SC_PAGESIZE);
    mapping = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mapping == MAP_FAILED)
        die("mmap");
    memset(mapping, 'm', length);
}

static void free_mapping(void)
{
    mapping = NULL;            /* TODO: valgrind doesn't report this one. */
}

int main(void)
{
    ask("allocate");
    make_blocks();
    make_friends();
    make_table();
    make_mapping();

    ask("give everything back");
    free_blocks();
    free_friends();
    free_table();
    free_mapping();

    ask("end");
    return EXIT_SUCCESS;
}
