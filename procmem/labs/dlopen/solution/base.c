#include <string.h>

/* Its contents show from outside whether base() was called. Do not change it. */
static volatile char state[32] = "base was not called";

int base(int number);

int base(int number)
{
    strcpy((char *)state, "base was called");
    return 2 * number;
}
