/* Letting go in another library's constructor. The loader runs those of needed libraries
 * first, then those of preloaded ones, last to first: so close() is called before our own
 * constructor, or after it. Before: it is libc's close, and spoils nothing. */
#include <poll.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "deadline.h"
#include "expectation.h"
#include "service.h"
#include "stacking.h"
#include "trap.h"

static const char EARLY_CLOSER[] = "../preloaded/early_closer.so";
static const char NEEDS_EARLY_CLOSER[] = "../preloaded/needs_early_closer";

static char constructor_told(const struct child *child)
{
    char word = 0;

    require(wait_for(child->line.in, POLLIN, GENEROUS_MS) & POLLIN);
    require(read(child->line.in, &word, 1) == 1);
    return word;
}

/* What the library said of close() is what the client must see. True where it lingered. */
static bool prove_constructors_close(const struct child *child, int client,
                                     const struct netcounters *before)
{
    const char word = constructor_told(child);

    require(word == 'l' || word == 'c');
    send_late_bytes(client);
    const struct harvest harvest = read_response(client);

    require_fate(word == 'l', &harvest, before);
    require(close(client) == 0);
    return word == 'l';
}

static int serve_one(const struct host *host, const struct line *parent)
{
    const int server = host_accept(host);

    send_response(server);
    require(close(server) == 0);
    line_tell(parent, 'c');
    line_await(parent, 'e');
    return EXIT_SUCCESS;
}

static bool close_in_constructor_preloaded(const char *first, const char *second)
{
    const struct setting setting = preloading(first, second);
    struct netcounters before = netcounters_now();
    struct host host;
    struct child child;

    require_context("%s mode, %s", test_mode_name(), setting.text);
    host_open(&host, FAMILY_IPV4);
    int client = host_connect(&host);

    service_start(&child, "serve_one", &host, setting.text);
    const bool lingered = prove_constructors_close(&child, client, &before);

    before = netcounters_now();
    client = host_connect(&host);
    line_await(&child.line, 'c');
    prove_fate(plain_close(), client, &before);
    line_tell(&child.line, 'e');
    require(end_of(&child) == 0);
    host_close(&host);
    return lingered;
}

static struct path built_with_the_programs(const char *relative)
{
    const struct path path = beside_this_program(relative);
    struct stat status;

    require_context("%s is built with the programs", path.text);
    require(stat(path.text, &status) == 0);
    require(setenv("SERVE_IN_CONSTRUCTOR", "1", 1) == 0);
    return path;
}

/* In one of the two orders ours is ready; where it is not preloaded, in none. */
static void close_in_a_preloaded_librarys_constructor(void **state)
{
    const struct path early = built_with_the_programs(EARLY_CLOSER);
    const bool one = close_in_constructor_preloaded(early.text, NULL);
    const bool other = close_in_constructor_preloaded(NULL, early.text);

    (void)state;
    require(unsetenv("SERVE_IN_CONSTRUCTOR") == 0);
    require_context("%s mode, close() lingers in one order of two", test_mode_name());
    require((one != other) == plain_close()->saves);
}

static void close_in_a_needed_librarys_constructor(void **state)
{
    const struct path path = built_with_the_programs(NEEDS_EARLY_CLOSER);
    struct host host;
    struct child child;

    (void)state;
    host_open(&host, FAMILY_IPV4);
    const int client = host_connect(&host);
    const struct netcounters before = netcounters_now();

    require_context("%s mode, %s", test_mode_name(), path.text);
    program_start(&child, path.text, &host, NULL);
    prove_constructors_close(&child, client, &before);
    line_tell(&child.line, 'e');
    require(end_of(&child) == 0);
    require(unsetenv("SERVE_IN_CONSTRUCTOR") == 0);
    host_close(&host);
}

static const struct service services[] = {
    SERVICE(serve_one),
    {NULL, NULL},
};

int main(int count, char **arguments)
{
    const struct CMUnitTest traps[] = {
        trap(close_in_a_preloaded_librarys_constructor),
        trap(close_in_a_needed_librarys_constructor),
    };

    if (count > 1)
        return service_main(services, arguments);
    return run_traps(traps);
}
