#include "exclusivity_holder.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "children.h"
#include "deadline.h"
#include "require.h"
#include "response.h"

enum { NOT_HELD = -1, FAR_NUMBERS = 100, OWN_NUMBERS = 300 };

struct holder {
    struct ledger *ledger;
    const struct plan *plan;
    const struct step *step;
    int number;
    timer_t timer;
    bool has_timer;
    int fd[MOST_REFERENCES];
    int connection[MOST_REFERENCES]; /* or NOT_HELD */
};

static void accuse(const struct holder *holder, int connection, const char *what, int error)
{
    const struct violation violation = {.connection = connection,
                                        .holder = holder->number,
                                        .step = (int)(holder->step - holder->plan->step),
                                        .error = error,
                                        .what = what};

    ledger_accuse(holder->ledger, violation);
}

/* A period that is no power of two, so a lost or repeated segment cannot hide. */
unsigned char body_byte(const struct tag *tag, uint32_t offset)
{
    return (unsigned char)((offset + tag->sequence + 31u * tag->holder) % 251);
}

static void write_tagged(struct holder *holder, int reference, uint32_t length)
{
    static unsigned char message[sizeof(struct tag) + RESPONSE_BYTES];
    const int connection = holder->connection[reference];
    atomic_int *written = &holder->ledger->written[holder->number][connection];
    const struct tag tag = {.sequence = (uint32_t)atomic_load(written),
                            .length = length,
                            .connection = (uint16_t)connection,
                            .holder = (uint16_t)holder->number};
    const ssize_t size = (ssize_t)(sizeof(tag) + length);

    memcpy(message, &tag, sizeof(tag));
    for (uint32_t i = 0; i < length; i++)
        message[sizeof(tag) + i] = body_byte(&tag, i);
    const ssize_t sent = send(holder->fd[reference], message, (size_t)size,
                              MSG_NOSIGNAL | MSG_DONTWAIT);

    if (sent == size)
        atomic_fetch_add(written, 1);
    else
        accuse(holder, connection, sent < 0 ? "write failed" : "write was short", errno);
}

static void read_a_little(const struct holder *holder)
{
    const struct step *step = holder->step;
    char bytes[MOST_READ];
    const ssize_t got = recv(holder->fd[step->reference], bytes, 1 + step->how % MOST_READ,
                             MSG_DONTWAIT);

    if (got == 0)
        accuse(holder, step->connection, "end of file on read", 0);
    else if (got < 0 && errno != EAGAIN)
        accuse(holder, step->connection, "read failed", errno);
}

static void nap(long ns)
{
    const struct timespec slice = {.tv_nsec = ns};

    nanosleep(&slice, NULL);
}

/* As long as a busy machine may keep a process from its processor. */
static void be_preempted(int signal_number)
{
    (void)signal_number;
    nap(3000000);
}

/* timer_create(2): timers are not inherited by fork. */
static void lose_the_processor_soon(struct holder *holder)
{
    const struct sigaction action = {.sa_handler = be_preempted, .sa_flags = SA_RESTART};
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMIN};
    const struct itimerspec soon = {.it_value.tv_nsec = holder->step->preempted_ns};

    if (soon.it_value.tv_nsec == 0)
        return;
    if (!holder->has_timer) {
        require(sigaction(SIGRTMIN, &action, NULL) == 0);
        require(timer_create(CLOCK_MONOTONIC, &event, &holder->timer) == 0);
        holder->has_timer = true;
    }
    require(timer_settime(holder->timer, 0, &soon, NULL) == 0);
}

static void pause_somehow(const struct step *step)
{
    if (step->how % 2)
        sched_yield();
    else
        nap(1000L * (step->how % 1000));
}

static void duplicate(struct holder *holder)
{
    const struct step *step = holder->step;
    const int fd = holder->fd[step->reference], own = OWN_NUMBERS + step->other;
    int second = -1;

    ledger_hold(holder->ledger, step->connection);
    switch (step->how % 4) {
    case 0: second = dup(fd); break;
    case 1: second = fcntl(fd, F_DUPFD_CLOEXEC, FAR_NUMBERS); break;
    case 2: second = dup2(fd, own); break;
    case 3: second = dup3(fd, own, O_CLOEXEC); break;
    }
    require(second >= 0);
    holder->fd[step->other] = second;
    holder->connection[step->other] = step->connection;
}

static void before_letting_go(struct holder *holder, int connection)
{
    ledger_await_senders(holder->ledger, holder->step->awaits);
    ledger_let_go(holder->ledger, connection);
    lose_the_processor_soon(holder);
}

static void replace(struct holder *holder)
{
    const struct step *step = holder->step;
    const int fd = holder->fd[step->reference], over = holder->fd[step->other];

    ledger_hold(holder->ledger, step->connection);
    before_letting_go(holder, holder->connection[step->other]);
    require((step->how % 2 ? dup2(fd, over) : dup3(fd, over, O_CLOEXEC)) == over);
    holder->connection[step->other] = step->connection;
}

static void close_somehow(struct holder *holder)
{
    const struct step *step = holder->step;
    const int fd = holder->fd[step->reference];

    before_letting_go(holder, step->connection);
    switch (step->how % 4) {
    case 0: require(close(fd) == 0); break;
    case 1: require(syscall(SYS_close, fd) == 0); break;
    case 2: require(close_range((unsigned)fd, (unsigned)fd, 0) == 0); break;
    case 3: require(fclose(fdopen(fd, "r+")) == 0); break;
    }
    holder->connection[step->reference] = NOT_HELD;
    if (step->courier >= 0)
        atomic_store(&holder->ledger->sent_number_closed[step->courier], true);
}

static void fork_a_holder(struct holder *holder)
{
    for (int i = 0; i < MOST_REFERENCES; i++)
        if (holder->connection[i] != NOT_HELD)
            ledger_hold(holder->ledger, holder->connection[i]);
    const pid_t pid = fork();

    require(pid >= 0);
    if (pid > 0)
        return;
    bound_lifetime();
    holder->number = holder->step->other;
    holder->has_timer = false;
}

union rights {
    char space[CMSG_SPACE(sizeof(int))];
    struct cmsghdr header;
};

/* unix(7): SCM_RIGHTS. */
static void send_reference(struct holder *holder)
{
    const struct step *step = holder->step;
    char byte = 'd';
    union rights rights = {.header = {.cmsg_level = SOL_SOCKET,
                                      .cmsg_type = SCM_RIGHTS,
                                      .cmsg_len = CMSG_LEN(sizeof(int))}};
    struct iovec body = {.iov_base = &byte, .iov_len = 1};
    const struct msghdr message = {.msg_iov = &body, .msg_iovlen = 1,
                                   .msg_control = &rights, .msg_controllen = sizeof(rights)};

    memcpy(CMSG_DATA(&rights.header), &holder->fd[step->reference], sizeof(int));
    ledger_hold(holder->ledger, step->connection);
    require(sendmsg(holder->ledger->courier[step->courier][0], &message, 0) == 1);
}

static void receive_reference(struct holder *holder)
{
    const struct step *step = holder->step;
    const int over = holder->ledger->courier[step->courier][1];
    char byte;
    union rights rights;
    struct iovec body = {.iov_base = &byte, .iov_len = 1};
    struct msghdr message = {.msg_iov = &body, .msg_iovlen = 1,
                             .msg_control = &rights, .msg_controllen = sizeof(rights)};

    require(wait_for(over, POLLIN, GENEROUS_MS) & POLLIN);
    require(recvmsg(over, &message, MSG_CMSG_CLOEXEC) == 1);
    require(CMSG_FIRSTHDR(&message) != NULL);
    memcpy(&holder->fd[step->reference], CMSG_DATA(&rights.header), sizeof(int));
    holder->connection[step->reference] = step->connection;
}

static _Noreturn void end_somehow(struct holder *holder)
{
    ledger_await_senders(holder->ledger, holder->step->awaits);
    for (int i = 0; i < MOST_REFERENCES; i++)
        if (holder->connection[i] != NOT_HELD)
            ledger_let_go(holder->ledger, holder->connection[i]);
    lose_the_processor_soon(holder);
    switch (holder->step->how % 5) {
    case 0: exit(EXIT_SUCCESS);
    case 1: quick_exit(EXIT_SUCCESS);
    case 2: _Exit(EXIT_SUCCESS);
    case 3: syscall(SYS_exit_group, EXIT_SUCCESS); break;
    }
    _exit(EXIT_SUCCESS);
}

static void perform(struct holder *holder)
{
    switch (holder->step->deed) {
    case DEED_WRITE:
        return write_tagged(holder, holder->step->reference, holder->step->how % 100);
    case DEED_READ: return read_a_little(holder);
    case DEED_PAUSE: return pause_somehow(holder->step);
    case DEED_DUPLICATE: return duplicate(holder);
    case DEED_REPLACE: return replace(holder);
    case DEED_CLOSE: return close_somehow(holder);
    case DEED_FORK: return fork_a_holder(holder);
    case DEED_SEND: return send_reference(holder);
    case DEED_RECEIVE: return receive_reference(holder);
    case DEED_END: end_somehow(holder);
    }
}

void hold(struct ledger *ledger, const struct plan *plan, const int *servers)
{
    struct holder holder = {.ledger = ledger, .plan = plan, .step = plan->step};

    for (int i = 0; i < MOST_REFERENCES; i++)
        holder.connection[i] = i < plan->connections ? i : NOT_HELD;
    for (int i = 0; i < plan->connections; i++) {
        holder.fd[i] = servers[i];
        if (plan->connection[i].large)
            write_tagged(&holder, i, RESPONSE_BYTES);
    }
    for (int i = 0; i < plan->steps; i++) {
        holder.step = &plan->step[i];
        if (holder.step->holder == holder.number)
            perform(&holder);
    }
    if (holder.has_timer)
        timer_delete(holder.timer);
}
