#include <dlfcn.h>
#include <stdio.h>

static void wait_for_enter(const char *text)
{
    int c;

    printf("%s Press Enter. ", text);
    fflush(stdout);
    while ((c = getchar()) != '\n' && c != EOF)
        continue;
}

int main(void)
{
    wait_for_enter("Nothing is loaded yet.");
    /* TODO 3: load ./libgreet.so with dlopen(3), find `greet` in it with dlsym(3), call it. */
    wait_for_enter("The library is loaded.");
    /* TODO 4: unload it with dlclose(3). */
    wait_for_enter("The library is gone.");
    return 0;
}
