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
    if (unused >= 0)
        close(unused);
    if (input != STDIN_FILENO) {
        dup2(input, STDIN_FILENO);
        close(input);
    }
    if (output != STDOUT_FILENO) {
        dup2(output, STDOUT_FILENO);
        close(output);
    }
    execvp(command[0], command);
    perror(command[0]);
    _exit(127);
}

/* Starts commands, each of which reads what the one before it writes, and waits for all. */
static void run(char ***commands, int count)
{
    int input = STDIN_FILENO;
    int ends[2];

    for (int i = 0; i < count - 1; i++) {
        if (pipe(ends) != 0)
            die("pipe");
        start(commands[i], input, ends[1], ends[0]);
        close(ends[1]);
        if (input != STDIN_FILENO)
            close(input);
        input = ends[0];
    }
    start(commands[count - 1], input, STDOUT_FILENO, -1);
    if (input != STDIN_FILENO)
        close(input);
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
