#include "require.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "trap.h"

static pid_t jumping_process;
static char context[160], note[160];

void require_jumps_here(void)
{
    jumping_process = getpid();
}

void require_context(const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(context, sizeof(context), format, arguments);
    va_end(arguments);
    note[0] = '\0';
}

void require_note(const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(note, sizeof(note), format, arguments);
    va_end(arguments);
}

void require_failed(const char *condition, const char *file, int line)
{
    const char *error = strerror(errno);

    if (getpid() == jumping_process && gettid() == jumping_process) {
        print_error("[%s] %s (errno: %s) %s\n", context, condition, error, note);
        _fail(file, line);
    }
    dprintf(STDERR_FILENO, "%s:%d: in process %d: [%s] %s (errno: %s) %s\n", file, line,
            (int)getpid(), context, condition, error, note);
    if (getpid() == jumping_process)
        abort();
    _exit(EXIT_FAILURE);
}
