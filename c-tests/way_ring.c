/* A connection that is a registered file of an io_uring: its number is closed, and the
 * program goes on by its place in the ring's table, in which nobody can look for a holder. */
#include <errno.h>
#include <linux/io_uring.h>
#include <poll.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "deadline.h"
#include "expectation.h"
#include "loopback.h"
#include "trap.h"

struct ring {
    int fd;
    struct io_uring_params params;
    char *queues; /* IORING_FEAT_SINGLE_MMAP */
    size_t length;
    struct io_uring_sqe *entries;
};

static void ring_open(struct ring *ring)
{
    *ring = (struct ring){.fd = -1};
    ring->fd = (int)syscall(SYS_io_uring_setup, 1, &ring->params);
    require_context("%s mode, io_uring must not be forbidden here (kernel.io_uring_disabled)",
                    test_mode_name());
    require(ring->fd >= 0);
    require(ring->params.features & IORING_FEAT_SINGLE_MMAP);
    const size_t submission = ring->params.sq_off.array + sizeof(unsigned);
    const size_t completion = ring->params.cq_off.cqes +
                              ring->params.cq_entries * sizeof(struct io_uring_cqe);

    ring->length = submission > completion ? submission : completion;
    ring->queues = mmap(NULL, ring->length, PROT_READ | PROT_WRITE, MAP_SHARED, ring->fd,
                        IORING_OFF_SQ_RING);
    ring->entries = mmap(NULL, sizeof(*ring->entries), PROT_READ | PROT_WRITE, MAP_SHARED,
                         ring->fd, IORING_OFF_SQES);
    require(ring->queues != MAP_FAILED && ring->entries != MAP_FAILED);
}

static void ring_close(struct ring *ring)
{
    require(munmap(ring->queues, ring->length) == 0);
    require(munmap(ring->entries, sizeof(*ring->entries)) == 0);
    require(close(ring->fd) == 0);
}

static int ring_send(struct ring *ring, int place, const char *text, unsigned length)
{
    struct io_uring_cqe *const done =
        (struct io_uring_cqe *)(ring->queues + ring->params.cq_off.cqes);
    _Atomic unsigned *const tail = (_Atomic unsigned *)(ring->queues + ring->params.sq_off.tail);

    ring->entries[0] = (struct io_uring_sqe){.opcode = IORING_OP_SEND,
                                             .flags = IOSQE_FIXED_FILE,
                                             .fd = place,
                                             .addr = (uintptr_t)text,
                                             .len = length,
                                             .msg_flags = MSG_NOSIGNAL};
    *(unsigned *)(ring->queues + ring->params.sq_off.array) = 0;
    atomic_fetch_add(tail, 1);
    require(syscall(SYS_io_uring_enter, ring->fd, 1, 1, IORING_ENTER_GETEVENTS, NULL, 0) == 1);
    return done->res;
}

static void register_files(int ring, int fd)
{
    require(syscall(SYS_io_uring_register, ring, IORING_REGISTER_FILES, &fd, 1) == 0);
}

static void register_files_2(int ring, int fd)
{
    struct io_uring_rsrc_register files = {.nr = 1, .data = (uintptr_t)&fd};

    require(syscall(SYS_io_uring_register, ring, IORING_REGISTER_FILES2, &files, sizeof(files)) == 0);
}

static void register_an_empty_table(int ring)
{
    const int none = -1;

    require(syscall(SYS_io_uring_register, ring, IORING_REGISTER_FILES, &none, 1) == 0);
}

static void update_files(int ring, int fd)
{
    struct io_uring_files_update update = {.fds = (uintptr_t)&fd};

    register_an_empty_table(ring);
    require(syscall(SYS_io_uring_register, ring, IORING_REGISTER_FILES_UPDATE, &update, 1) == 1);
}

static void update_files_2(int ring, int fd)
{
    struct io_uring_rsrc_update2 update = {.data = (uintptr_t)&fd, .nr = 1};

    register_an_empty_table(ring);
    require(syscall(SYS_io_uring_register, ring, IORING_REGISTER_FILES_UPDATE2, &update,
                    sizeof(update)) == 1);
}

static const struct registration {
    const char *name;
    void (*make)(int ring, int fd);
} registrations[] = {
    {"IORING_REGISTER_FILES", register_files},
    {"IORING_REGISTER_FILES2", register_files_2},
    {"IORING_REGISTER_FILES_UPDATE", update_files},
    {"IORING_REGISTER_FILES_UPDATE2", update_files_2},
};

/* linger_close() is not asked: its caller vouches that nobody else holds the connection. */
static void registered_connection_is_not_cut_off(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(registrations) / sizeof(registrations[0]); i++) {
        const struct pair pair = pair_open(FAMILY_IPV4);
        struct ring ring;
        char answer[8];

        ring_open(&ring);
        require_context("%s mode, %s", test_mode_name(), registrations[i].name);
        registrations[i].make(ring.fd, pair.server);
        require(close(pair.server) == 0);
        require_nothing_lingers();
        leave_time_for_a_wrong_shutdown();
        require(wait_for(pair.client, POLLIN | POLLRDHUP, 0) == 0);
        require(ring_send(&ring, 0, "answer", 6) == 6);
        require(recv(pair.client, answer, 6, MSG_WAITALL) == 6);
        ring_close(&ring);
        require(close(pair.client) == 0);
    }
}

int main(void)
{
    const struct CMUnitTest traps[] = {
        trap(registered_connection_is_not_cut_off),
    };

    return run_traps(traps);
}
