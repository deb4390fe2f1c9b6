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

    fifo = open(FIFO, O_RDONLY);
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
    if (mkfifo(FIFO, 0600) != 0)
        die("mkfifo");
    pid = fork();
    if (pid < 0)
        die("fork");
    if (pid == 0)
        child();

    ask("Type a word for the child", word);
    fifo = open(FIFO, O_WRONLY);
    if (fifo < 0)
        die(FIFO);
    dprintf(fifo, "%s\n", word);

    ask("Press Enter to close the FIFO", line);
    close(fifo);
    waitpid(pid, NULL, 0);

    ask("Press Enter to remove the FIFO", line);
    if (unlink(FIFO) != 0)
        die("unlink");

    ask("Press Enter to end", line);
    return EXIT_SUCCESS;
}
