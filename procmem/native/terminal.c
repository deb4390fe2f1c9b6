#include "terminal.h"

#include <signal.h>
#include <stddef.h>
#include <unistd.h>

static const int ending[] = {SIGTERM, SIGHUP, SIGQUIT};
static volatile sig_atomic_t terminal = -1;

/* A handler of Python would wait until a long system call returns. */
static void on_end(int number)
{
    static const char clear[] = "\r\033[K";

    if (terminal >= 0 && write((int)terminal, clear, sizeof clear - 1) < 0)
        terminal = -1;
    raise(number); /* SA_RESETHAND: its default action, before this returns */
}

void pm_clear_at_end(int fd)
{
    struct sigaction ours = {.sa_handler = on_end, .sa_flags = (int)(SA_RESETHAND | SA_NODEFER)};
    struct sigaction usual = {.sa_handler = SIG_DFL};
    size_t i;

    terminal = fd;
    for (i = 0; i < sizeof ending / sizeof *ending; i++) {
        struct sigaction seen;

        if (sigaction(ending[i], NULL, &seen) || (seen.sa_flags & SA_SIGINFO))
            continue;
        if (fd >= 0 && seen.sa_handler == SIG_DFL)
            sigaction(ending[i], &ours, NULL);
        else if (fd < 0 && seen.sa_handler == on_end)
            sigaction(ending[i], &usual, NULL);
    }
}
