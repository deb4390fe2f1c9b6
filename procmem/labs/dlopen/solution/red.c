#include <string.h>

/* Its contents show from outside whether red() was called. Do not change it. */
static volatile char state[32] = "red was not called";

int red(int number);

int red(int number)
{
    strcpy((char *)state, "red was called");
    return number + 1;
}
