/* Prints what a program gets from whoever starts it. */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/auxv.h>
#include <unistd.h>

extern char **environ;

int main(int count, char **words)
{
    struct sigaction action;
    sigset_t blocked;
    int number;

    /* Descriptor 1 is always open: it is what this is printed to. */
    printf("closed:%s%s\n", fcntl(0, F_GETFD) < 0 ? " 0" : "", fcntl(2, F_GETFD) < 0 ? " 2" : "");
    printf("pid: %d\n", (int)getpid());
    printf("secure: %lu\n", getauxval(AT_SECURE));
    sigprocmask(SIG_BLOCK, NULL, &blocked);
    for (number = 1; number < NSIG; number++) {
        if (sigaction(number, NULL, &action) == 0 && action.sa_handler == SIG_IGN)
            printf("ignored: %d\n", number);
        if (sigismember(&blocked, number) == 1)
            printf("blocked: %d\n", number);
    }
    for (number = 0; number < count; number++)
        printf("word: %s\n", words[number]);
    for (number = 0; environ[number]; number++)
        printf("entry: %s\n", environ[number]);
    return 0;
}
