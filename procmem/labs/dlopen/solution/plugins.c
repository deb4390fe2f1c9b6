/* Loads two libraries while it runs, calls them, and unloads them. */

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

/* Prints what comes next, and waits for Enter. */
static void ask(const char *next)
{
    int c;

    printf("Press Enter to %s ...\n", next);
    fflush(stdout);
    do
        c = getchar();
    while (c != '\n' && c != EOF);
}

/* Ends the program with the loader's own words. */
static void die(void)
{
    fprintf(stderr, "%s\n", dlerror());
    exit(EXIT_FAILURE);
}

static void *load(const char *name)
{
    void *library = dlopen(name, RTLD_NOW);

    if (library == NULL)
        die();
    return library;
}

/* Finds a function of a library, and calls it. */
static int call(void *library, const char *name)
{
    int (*function)(int);

    *(void **)&function = dlsym(library, name);
    if (function == NULL)
        die();
    return function(20);
}

int main(void)
{
    void *red, *again, *blue;

    ask("load libred.so");
    red = load("./libred.so");
    printf("red: %d\n", call(red, "red"));

    ask("load libblue.so");
    blue = load("./libblue.so");
    printf("blue: %d\n", call(blue, "blue"));

    ask("load libred.so once more, and unload it once");
    again = load("./libred.so");
    dlclose(again);

    ask("unload libred.so");
    dlclose(red);

    ask("unload libblue.so");
    dlclose(blue);

    ask("end");
    return EXIT_SUCCESS;
}
