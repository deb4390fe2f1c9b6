/* Starts commands that are joined by pipes, and waits for all of them. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* cat | cut -d . -f 1 | uniq | sort | tee names.txt */
static char *cat_words[] = { "cat", NULL };
static char *cut_words[] = { "cut", "-d", ".", "-f", "1", NULL };
static char *uniq_words[] = { "uniq", NULL };
static char *sort_words[] = { "sort", NULL };
static char *tee_words[] = { "tee", "names.txt", NULL };
static char **names[] = { cat_words, cut_words, uniq_words, sort_words, tee_words };

/* yes | sh -c 'read enter <&2; head -n 3 > first.txt': reads nothing before Enter is pressed. */
static char *yes_words[] = { "yes", NULL };
static char *sh_words[] = { "sh", "-c", "read enter <&2; head -n 3 > first.txt", NULL };
static char **early[] = { yes_words, sh_words };

static void die(const char *what)
{
    perror(what);
    exit(EXIT_FAILURE);
}

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

/* Starts a command in a child. Its standard input and output are the descriptors input and output;
 * unused is closed there, unless it is -1. */
static void start(char **command, int input, int output, int unused)
{
    pid_t pid = fork();

    if (pid < 0)
        die("fork");
    if (pid > 0)
        return;
    /* TODO: make input and output the standard input and output, and close what is left open. */
    (void)input, (void)output, (void)unused;
    execvp(command[0], command);
    perror(command[0]);
    _exit(127);
}

/* Starts commands, each of which reads what the one before it writes, and waits for all. */
static void run(char ***commands, int count)
{
    /* TODO: a pipe between each command and the next one. Now the first one is started alone. Which ends
     * must the parent close, and when? */
    start(commands[0], STDIN_FILENO, STDOUT_FILENO, -1);
    (void)count;
    while (wait(NULL) > 0)
        continue;
}

int main(int argc, char **argv)
{
    ask("start the pipeline");
    if (argc > 1 && strcmp(argv[1], "early") == 0)
        run(early, 2);
    else
        run(names, 5);
    ask("end");
    return EXIT_SUCCESS;
}
