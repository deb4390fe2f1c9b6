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
        fprintf(answers, "%s has %zu letters\n", word, strlen(word));
        fflush(answers);
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
    pid = fork();
    if (pid < 0) {
        perror("fork");
        return EXIT_FAILURE;
    }
    if (pid == 0) {
        close(to_child[1]);
        close(to_parent[0]);
        child(fdopen(to_child[0], "r"), fdopen(to_parent[1], "w"));
    }
    close(to_child[0]);
    close(to_parent[1]);
    questions = fdopen(to_child[1], "w");
    answers = fdopen(to_parent[0], "r");

    ask("Type a word for the child", word);
    fprintf(questions, "%s\n", word);
    fflush(questions);

    ask("Press Enter to read the answer", line);
    if (fgets(answer, sizeof answer, answers) == NULL)
        return EXIT_FAILURE;
    file = fopen("answer.txt", "w");
    if (file == NULL || fputs(answer, file) == EOF || fclose(file) == EOF) {
        perror("answer.txt");
        return EXIT_FAILURE;
    }

    ask("Press Enter to end the talk", line);
    fclose(questions);
    fclose(answers);
    waitpid(pid, NULL, 0);

    ask("Press Enter to end", line);
    return EXIT_SUCCESS;
}
