#include <stdio.h>

void greet(void);

void greet(void)
{
    puts("Greetings from the library.");
}
