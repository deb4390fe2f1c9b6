/* A parent asks, its child answers: two pipes, one for each direction. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { LONGEST = 200 };

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

/* Reads words, a line for each, and answers each with a line: "WORD has N letters". */
static void child(FILE *questions, FILE *answers)
{
    char word[LONGEST];

    while (fgets(word, sizeof word, questions) != NULL) {
        word[strcspn(word, "\n")] = '\0';
        /* TODO: write the answer, so that it is in the pipe at once. */
        (void)answers;
    }
    fclose(questions);
    fclose(answers);
    _exit(EXIT_SUCCESS);
}

int main(void)
{
    int to_child[2], to_parent[2];
    char line[LONGEST], word[LONGEST], answer[2 * LONGEST];
    FILE *questions, *answers, *file;
    pid_t pid;

    ask("Press Enter to start the child", line);
    if (pipe(to_child) != 0 || pipe(to_parent) != 0) {
        perror("pipe");
        return EXIT_FAILURE;
    }
    pid = -1;            /* TODO: fork. */
    if (pid == 0) {
        /* TODO: which ends does the child not need? */
        child(fdopen(to_child[0], "r"), fdopen(to_parent[1], "w"));
    }
    /* TODO: which ends does the parent not need? */
    questions = fdopen(to_child[1], "w");
    answers = fdopen(to_parent[0], "r");

    ask("Type a word for the child", word);
    /* TODO: send the word to the child, on a line of its own. */

    ask("Press Enter to read the answer", line);
    answer[0] = '\0';    /* TODO: read the answer. */
    file = fopen("answer.txt", "w");
    if (file == NULL || fputs(answer, file) == EOF || fclose(file) == EOF) {
        perror("answer.txt");
        return EXIT_FAILURE;
    }

    ask("Press Enter to end the talk", line);
    (void)questions, (void)answers;
    /* TODO: close both ends, so that the child ends; and wait for it. */

    ask("Press Enter to end", line);
    return EXIT_SUCCESS;
}
