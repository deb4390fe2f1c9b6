#include <stdio.h>

/* Constant, so it is in a read-only area: .rodata. */
const char constants[32 * 1024] = "constants";

/* Has an initial value and is writable: .data. */
char settings[32 * 1024] = "settings";

/* Has no initial value in the file: .bss. */
char buffer[64 * 1024];

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
    wait_for_enter("Hello, world!");
    for (size_t i = 0; i < sizeof buffer; i += 1024)
        buffer[i] = 1;
    wait_for_enter("The buffer has been written.");
    return 0;
}
