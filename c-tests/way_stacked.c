/* In company: a program of traps runs with libfaketime or libjemalloc preloaded as well,
 * before the shim and after it (not with both: those two do not bear each other); and
 * built with the address and the undefined behaviour sanitizer. It must show what it shows
 * without them. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "children.h"
#include "expectation.h"
#include "stacking.h"
#include "trap.h"

static const char PROGRAM[] = "trap_late_bytes";
static const char SANITIZED_PROGRAM[] = "../sanitized/trap_late_bytes";

/* Where Debian puts it depends on the architecture; its package knows. */
static struct path library_of_package(const char *package, const char *name)
{
    struct path path = {{0}};
    char command[256];

    snprintf(command, sizeof(command), "dpkg -L %s | grep '/%s$'", package, name);
    FILE *const answer = popen(command, "re");

    require(answer != NULL);
    (void)!fgets(path.text, sizeof(path.text), answer);
    pclose(answer);
    path.text[strcspn(path.text, "\n")] = '\0';
    require_context("%s is needed: apt-get install %s", name, package);
    require(path.text[0] == '/');
    return path;
}

static void run(const char *path, const char *mode, const char *preload)
{
    require(setenv("LINGER_TEST_MODE", mode, 1) == 0);
    require(putenv((char *)preload) == 0);
    bound_lifetime();
    /* The runner counts what tests print there; failures go to standard error. */
    dup2(open("/dev/null", O_WRONLY), STDOUT_FILENO);
    execl(path, path, (char *)NULL);
    _exit(127);
}

static void require_passes(const char *relative, const char *mode, const char *preload)
{
    const struct path path = beside_this_program(relative);
    struct stat status;

    require_context("%s mode, %s, %s", mode, relative, preload);
    require(stat(path.text, &status) == 0);
    fflush(NULL);
    const pid_t pid = fork();

    require(pid >= 0);
    if (pid == 0)
        run(path.text, mode, preload);
    require_exits_cleanly(pid);
}

static void shim_and_another(const char *library)
{
    const struct setting before_it = preloading(NULL, library);
    const struct setting after_it = preloading(library, NULL);

    require_passes(PROGRAM, test_mode_name(), before_it.text);
    require_passes(PROGRAM, test_mode_name(), after_it.text);
}

/* A clock that starts in the past and runs fast makes every deadline a trap. */
static void with_libfaketime(void **state)
{
    const struct path faketime = library_of_package("libfaketime", "libfaketime.so.1");

    (void)state;
    require(setenv("FAKETIME", "@2001-09-09 01:46:40 x2", 1) == 0);
    shim_and_another(faketime.text);
    require(unsetenv("FAKETIME") == 0);
}

static void with_libjemalloc(void **state)
{
    const struct path jemalloc = library_of_package("libjemalloc2", "libjemalloc.so.2");

    (void)state;
    shim_and_another(jemalloc.text);
}

/* A report of a sanitizer ends the program with another status than 0. Where the shim is
 * not preloaded the program is a bare one: it is linked with nothing of ours. */
static void with_sanitizers(void **state)
{
    const struct setting alone = preloading(NULL, "");
    const enum mode mode = test_mode();

    (void)state;
    require(setenv("ASAN_OPTIONS", "halt_on_error=1:detect_leaks=0", 1) == 0);
    require(setenv("UBSAN_OPTIONS", "halt_on_error=1", 1) == 0);
    require_passes(SANITIZED_PROGRAM, mode == MODE_PRELOAD ? "preload" : "bare", alone.text);
}

int main(void)
{
    const struct CMUnitTest traps[] = {
        trap(with_libfaketime),
        trap(with_libjemalloc),
        trap(with_sanitizers),
    };

    return run_traps(traps);
}
