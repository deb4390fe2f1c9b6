/* A FIFO: the parent writes a word to it, its child reads until the end of file. */

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define FIFO "talk.fifo"

enum { LONGEST = 200 };

static void die(const char *what)
{
    perror(what);
    exit(EXIT_FAILURE);
}

/* Prints what comes next, and waits for a line, which is stored without its newline. Only the
 * parent asks. */
static void ask(const char *next, char line[LONGEST])
{
    printf("%s ...\n", next);
    fflush(stdout);
    if (fgets(line, LONGEST, stdin) == NULL)
        exit(EXIT_FAILURE);
    line[strcspn(line, "\n")] = '\0';
}

/* Reads the FIFO until the end of file, and writes all of it to the file received.txt. */
static void child(void)
{
    char bytes[LONGEST];
    ssize_t size;
    FILE *file;
    int fifo;

    fifo = -1;           /* TODO: open the FIFO. */
    file = fopen("received.txt", "w");
    if (fifo < 0 || file == NULL)
        die(FIFO);
    while ((size = read(fifo, bytes, sizeof bytes)) > 0)
        fwrite(bytes, 1, (size_t)size, file);
    fclose(file);
    close(fifo);
    _exit(EXIT_SUCCESS);
}

int main(void)
{
    char line[LONGEST], word[LONGEST];
    int fifo;
    pid_t pid;

    ask("Press Enter to make the FIFO and start the child", line);
    /* TODO: make the FIFO. */
    pid = fork();
    if (pid < 0)
        die("fork");
    if (pid == 0)
        child();

    ask("Type a word for the child", word);
    /* TODO: open the FIFO, and write the word to it, on a line of its own. */
    fifo = -1;
    (void)word;

    ask("Press Enter to close the FIFO", line);
    /* TODO: close the FIFO, and wait for the child. */
    (void)fifo;

    ask("Press Enter to remove the FIFO", line);
    /* TODO: remove the FIFO. */

    ask("Press Enter to end", line);
    return EXIT_SUCCESS;
}
