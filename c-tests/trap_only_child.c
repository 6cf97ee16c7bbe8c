/* Trap 16 for a child that has given up its privilege, and may not see what others hold. It alone has a
 * connection if its parent let go and gave it to nobody else. Here somebody does hold the connection when
 * the child closes its copy, in each of the ways that there are, and must be able to say his last word. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "children.h"
#include "deadline.h"
#include "expectation.h"
#include "loopback.h"
#include "nobody.h"
#include "post.h"
#include "trap.h"

static const char LAST_WORD[] = "last word";

struct scene {
    const struct way *way;
    struct pair pair;
    int parents; /* the parent's number in the end, -1 for none */
    int end[2];  /* whoever else holds the connection waits for its end */
    int post[2]; /* what is sent here is held by a process that is older than the connection */
    void (*in_child)(struct scene *scene);
};

static void say_the_last_word(int server)
{
    require(write(server, LAST_WORD, strlen(LAST_WORD)) == (ssize_t)strlen(LAST_WORD));
}

/* What is not this process's to hold. */
static void leave_to_the_test(struct scene *scene)
{
    if (scene->pair.client >= 0)
        require(close(scene->pair.client) == 0);
    if (scene->end[1] >= 0)
        require(close(scene->end[1]) == 0);
    scene->pair.client = scene->end[1] = -1;
}

static void hold_to_the_end(int end, int server)
{
    char byte;

    require(read(end, &byte, 1) == 0);
    say_the_last_word(server);
    _exit(EXIT_SUCCESS);
}

static void start_holder(struct scene *scene)
{
    const pid_t pid = fork();

    require(pid >= 0);
    if (pid > 0)
        return;
    bound_lifetime();
    leave_to_the_test(scene);
    hold_to_the_end(scene->end[0], scene->pair.server);
}

static void start_holder_by_vfork(struct scene *scene)
{
    char end[16], server[16];
    const char *const program = own_program();

    require(fcntl(scene->end[0], F_SETFD, 0) == 0);
    require(fcntl(scene->pair.server, F_SETFD, 0) == 0);
    snprintf(end, sizeof(end), "%d", scene->end[0]);
    snprintf(server, sizeof(server), "%d", scene->pair.server);
    const pid_t pid = vfork();

    if (pid == 0) {
        execl(program, "holder", end, server, (char *)NULL);
        _exit(EXIT_FAILURE);
    }
    require(pid > 0);
}

static void start_receiver(struct scene *scene)
{
    const pid_t pid = fork();

    require(pid >= 0);
    if (pid > 0)
        return;
    bound_lifetime();
    leave_to_the_test(scene);
    hold_to_the_end(scene->end[0], receive_descriptor_by(&posts[0], scene->post[1]));
}

static void send_it(struct scene *scene)
{
    send_descriptor_by(&posts[0], scene->post[0], scene->pair.server);
}

static void send_a_duplicate(struct scene *scene)
{
    const int duplicate = dup(scene->pair.server);

    send_descriptor_by(&posts[0], scene->post[0], duplicate);
    require(close(duplicate) == 0);
}

static void keep_it(struct scene *scene)
{
    scene->parents = scene->pair.server;
}

static void keep_a_duplicate(struct scene *scene)
{
    scene->parents = fcntl(scene->pair.server, F_DUPFD_CLOEXEC, 0);
    require(scene->parents >= 0);
}

/* Also a process of the same user is not to be seen. */
static void start_hidden_holder(struct scene *scene)
{
    require(prctl(PR_SET_DUMPABLE, 0) == 0);
    start_holder(scene);
    require(prctl(PR_SET_DUMPABLE, 1) == 0);
}

static void let_go_without_privilege(struct line *parent, void *argument)
{
    struct scene *const scene = argument;

    leave_to_the_test(scene);
    give_up_privilege();
    if (scene->in_child)
        scene->in_child(scene);
    line_tell(parent, 'r');
    line_await(parent, 'c');
    require(scene->way->let_go(scene->pair.server) == 0);
    line_tell(parent, 'd');
    line_await(parent, 'e');
}

struct holding {
    const char *how;
    void (*before_fork)(struct scene *scene);
    void (*after_fork)(struct scene *scene);
    void (*in_child)(struct scene *scene);
    bool by_post;
};

static const struct holding holdings[] = {
    {"the parent keeps it", .after_fork = keep_it},
    {"the parent had duplicated it", .before_fork = keep_a_duplicate},
    {"the parent duplicates it", .after_fork = keep_a_duplicate},
    {"an elder child", .before_fork = start_holder},
    {"a younger child", .after_fork = start_holder},
    {"an elder child by vfork", .before_fork = start_holder_by_vfork},
    {"a younger child by vfork", .after_fork = start_holder_by_vfork},
    {"the parent had sent it", .before_fork = send_it, .by_post = true},
    {"the parent sends it", .after_fork = send_it, .by_post = true},
    {"the parent sends a duplicate", .after_fork = send_a_duplicate, .by_post = true},
    {"the child sends it", .in_child = send_it, .by_post = true},
    {"the child sends a duplicate", .in_child = send_a_duplicate, .by_post = true},
    {"a grandchild", .in_child = start_hidden_holder},
};

static struct scene open_scene(const struct way *way)
{
    struct scene scene = {.way = way, .pair = {-1, -1}, .parents = -1};

    require(pipe2(scene.end, O_CLOEXEC) == 0);
    require(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, scene.post) == 0);
    return scene;
}

static void close_scene(struct scene *scene)
{
    leave_to_the_test(scene);
    require(close(scene->end[0]) == 0);
    require(close(scene->post[0]) == 0);
    require(close(scene->post[1]) == 0);
}

static void prove_last_word_is_heard(const struct holding *holding)
{
    struct scene scene = open_scene(plain_close());
    char heard[sizeof(LAST_WORD)];
    struct child child;

    require_context("%s mode, held: %s", test_mode_name(), holding->how);
    if (holding->by_post)
        start_receiver(&scene);
    scene.pair = pair_open(FAMILY_IPV4);
    scene.in_child = holding->in_child;
    if (holding->before_fork)
        holding->before_fork(&scene);
    child_start(&child, let_go_without_privilege, &scene);
    line_await(&child.line, 'r');
    if (holding->after_fork)
        holding->after_fork(&scene);
    if (scene.parents != scene.pair.server)
        require(close(scene.pair.server) == 0);
    /* For what the parent finds out after its close. */
    leave_time_for_a_wrong_shutdown();
    line_tell(&child.line, 'c');
    line_await(&child.line, 'd');
    leave_time_for_a_wrong_shutdown();
    require(recv(scene.pair.client, heard, 1, MSG_DONTWAIT) < 0 && errno == EAGAIN);
    require(close(scene.end[1]) == 0);
    scene.end[1] = -1;
    if (scene.parents >= 0)
        say_the_last_word(scene.parents);
    require(wait_for(scene.pair.client, POLLIN, GENEROUS_MS) & POLLIN);
    require(recv(scene.pair.client, heard, sizeof(heard), 0) == (ssize_t)strlen(LAST_WORD));
    line_tell(&child.line, 'e');
    child_reap(&child);
    close_scene(&scene);
    if (scene.parents >= 0)
        require(close(scene.parents) == 0);
    reap_adopted();
}

static void whoever_holds_it_is_heard(void **state)
{
    (void)state;
    warn_unless_can_be_nobody();
    adopt_orphans();
    for (size_t i = 0; i < sizeof(holdings) / sizeof(holdings[0]); i++)
        prove_last_word_is_heard(&holdings[i]);
}

/* A server with a child for each connection, which serves one. */
struct server {
    const struct way *way;
    struct host host;
    void (*at_start)(void);
    void (*in_child)(void);
    void (*answer)(struct line *parent, void *server);
    int connection;
};

static void answer(struct line *parent, void *argument)
{
    const struct server *const server = argument;

    if (server->in_child)
        server->in_child();
    line_await(parent, 'p');
    send_response(server->connection);
    require(server->way->let_go(server->connection) == 0);
    line_tell(parent, 'c');
    finish_lingering(server->way);
}

static void serve_by_an_only_child(struct line *parent, void *argument)
{
    struct server *const server = argument;
    struct child child;

    if (server->at_start)
        server->at_start();
    server->connection = host_accept(&server->host);
    child_start(&child, server->answer, server);
    require(close(server->connection) == 0);
    /* It has found the child, and leaves the rest to it. */
    leave_time_for_a_wrong_shutdown();
    line_tell(&child.line, 'p');
    line_await(&child.line, 'c');
    line_tell(parent, 'c');
    child_reap(&child);
}

static void prove_only_child_lingers(void (*at_start)(void), void (*in_child)(void))
{
    BY_EACH_WAY(way) {
        struct server server = {.way = way, .at_start = at_start, .in_child = in_child, .answer = answer};
        const struct netcounters before = netcounters_now();
        struct child process;

        require_context("%s, an only child", way->name);
        host_open(&server.host, FAMILY_IPV4);
        const int client = host_connect(&server.host);

        child_start(&process, serve_by_an_only_child, &server);
        host_close(&server.host);
        line_await(&process.line, 'c');
        prove_fate(way, client, &before);
        child_reap(&process);
    }
}

static void only_child_without_privilege_lingers(void **state)
{
    (void)state;
    warn_unless_can_be_nobody();
    prove_only_child_lingers(NULL, give_up_privilege);
}

/* Its child has no /proc. */
static void change_root(void)
{
    require(chroot("/usr") == 0);
    require(chdir("/") == 0);
    require(access("/proc/self", F_OK) != 0);
}

static void only_child_in_another_root_lingers(void **state)
{
    (void)state;
    prove_only_child_lingers(change_root, NULL);
}

/* What it closes first is not the last number it has. */
static void answer_by_a_duplicate(struct line *parent, void *argument)
{
    const struct server *const server = argument;
    const int duplicate = dup(server->connection);

    line_await(parent, 'p');
    require(close(server->connection) == 0);
    leave_time_for_a_wrong_shutdown();
    say_the_last_word(duplicate);
    line_tell(parent, 'c');
}

static void be_first_in_a_process_namespace(void)
{
    require(unshare(CLONE_NEWPID) == 0);
    const pid_t first = fork();

    require(first >= 0);
    if (first > 0) {
        require_exits_cleanly(first);
        _exit(EXIT_SUCCESS);
    }
    bound_lifetime();
}

/* In the /proc there is, the child's number is another process's. */
static void only_child_keeps_its_duplicate_where_proc_is_anothers(void **state)
{
    struct server server = {.way = plain_close(),
                            .at_start = be_first_in_a_process_namespace,
                            .answer = answer_by_a_duplicate};
    char heard[sizeof(LAST_WORD)];
    struct child process;

    (void)state;
    require_context("%s mode, another's /proc", test_mode_name());
    host_open(&server.host, FAMILY_IPV4);
    const int client = host_connect(&server.host);

    child_start(&process, serve_by_an_only_child, &server);
    host_close(&server.host);
    line_await(&process.line, 'c');
    require(wait_for(client, POLLIN, GENEROUS_MS) & POLLIN);
    require(recv(client, heard, sizeof(heard), 0) == (ssize_t)strlen(LAST_WORD));
    require(close(client) == 0);
    child_reap(&process);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest traps[] = {
        trap(only_child_without_privilege_lingers),
        trap(only_child_in_another_root_lingers),
        trap(only_child_keeps_its_duplicate_where_proc_is_anothers),
        /* Last: a process that has sent a duplicate knows of nobody any more that he is alone. */
        trap(whoever_holds_it_is_heard),
    };

    if (argc == 3) {
        bound_lifetime();
        hold_to_the_end(atoi(argv[1]), atoi(argv[2]));
    }
    return run_traps(traps);
}
