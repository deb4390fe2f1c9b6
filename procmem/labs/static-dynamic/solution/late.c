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
    void *library;
    void (*greet)(void);

    wait_for_enter("Nothing is loaded yet.");
    library = dlopen("./libgreet.so", RTLD_NOW);
    if (library == NULL) {
        fprintf(stderr, "%s\n", dlerror());
        return 1;
    }
    *(void **)&greet = dlsym(library, "greet");
    if (greet == NULL) {
        fprintf(stderr, "%s\n", dlerror());
        return 1;
    }
    greet();
    wait_for_enter("The library is loaded.");
    dlclose(library);
    wait_for_enter("The library is gone.");
    return 0;
}
