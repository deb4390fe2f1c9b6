#include <stdio.h>

int main(void)
{
    printf("Hello, world! Press Enter. ");
    fflush(stdout);
    getchar();
    return 0;
}
