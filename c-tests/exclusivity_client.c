#include "exclusivity_client.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "deadline.h"
#include "exclusivity_holder.h"
#include "require.h"

enum { CHATTER = 40, CHATTER_MS = 2 };

void client_open(struct client *client, int number, const struct plan *plan,
                 const struct host *host)
{
    static const char request[REQUEST_BYTES];

    client->fd = host_connect(host);
    client->number = number;
    client->plan = plan->connection[number];
    client->state = CLIENT_WAITS;
    client->chatter_left = client->plan.chatter ? CHATTER : 0;
    client->bell_has_rung = false;
    client->loss = NULL;
    client->bytes = 0;
    if (client->plan.unread)
        require(send(client->fd, request, sizeof(request), 0) == sizeof(request));
}

static void accuse(const struct client *client, struct ledger *ledger, const char *what, int error)
{
    ledger_accuse(ledger, (struct violation){.connection = client->number,
                                             .holder = NOBODY,
                                             .step = -1,
                                             .error = error,
                                             .what = what});
}

/* Whatever ends a connection that somebody holds is a holder's doing. */
static void note_end(struct client *client, struct ledger *ledger, int error)
{
    if (atomic_load(&ledger->held[client->number]) > 0)
        accuse(client, ledger, "end of a connection that is held", error);
    if (error)
        client->loss = "reset";
}

static void say(struct client *client, struct ledger *ledger, const char *words)
{
    if (send(client->fd, words, strlen(words), MSG_NOSIGNAL | MSG_DONTWAIT) >= 0)
        return;
    if (errno != EAGAIN)
        note_end(client, ledger, errno);
}

/* Everything written came, of each holder in its order, and nothing else. */
static const char *fault_of(const struct client *client, struct ledger *ledger)
{
    int seen[MOST_HOLDERS] = {0};
    struct tag tag;

    for (size_t at = 0; at < client->bytes; at += sizeof(tag) + tag.length) {
        if (client->bytes - at < sizeof(tag))
            return "a tag cut short";
        memcpy(&tag, client->harvest + at, sizeof(tag));
        if (tag.holder >= MOST_HOLDERS || tag.connection != client->number ||
            tag.sequence != (uint32_t)seen[tag.holder]++)
            return "a wrong tag";
        if (client->bytes - at - sizeof(tag) < tag.length)
            return "a body cut short";
        for (uint32_t i = 0; i < tag.length; i++)
            if (client->harvest[at + sizeof(tag) + i] != body_byte(&tag, i))
                return "a wrong byte";
    }
    for (int i = 0; i < MOST_HOLDERS; i++)
        if (seen[i] != atomic_load(&ledger->written[i][client->number]))
            return "writes lost";
    return NULL;
}

/* More bytes after the server's FIN: only who lingers does not answer with RST. */
static void finish(struct client *client, struct ledger *ledger)
{
    int error = 0;
    socklen_t size = sizeof(error);

    if (!client->loss)
        client->loss = fault_of(client, ledger);
    say(client, ledger, "after FIN");
    require(getsockopt(client->fd, SOL_SOCKET, SO_ERROR, &error, &size) == 0);
    if (error && !client->loss)
        client->loss = "reset after FIN";
    require(close(client->fd) == 0);
    client->state = CLIENT_IS_DONE;
}

static void harvest(struct client *client, struct ledger *ledger)
{
    const size_t room = HARVEST_BYTES - client->bytes;

    require(room > 0);
    const ssize_t got = recv(client->fd, client->harvest + client->bytes, room, MSG_DONTWAIT);

    if (got > 0) {
        client->bytes += (size_t)got;
    } else if (got == 0 || errno != EAGAIN) {
        note_end(client, ledger, got == 0 ? 0 : errno);
        finish(client, ledger);
    }
}

static void hear_bell(struct client *clients, struct ledger *ledger)
{
    char number;

    require(read(ledger->bell[0], &number, 1) == 1);
    struct client *client = &clients[(int)number];

    client->bell_has_rung = true;
    if (client->state != CLIENT_WAITS)
        return;
    client->state = CLIENT_IS_QUIET;
    client->quiet_until_ms = now_ms() + client->plan.quiet_ms;
}

static void act_in_time(struct client *client, struct ledger *ledger)
{
    if (client->state == CLIENT_WAITS && client->chatter_left > 0) {
        client->chatter_left--;
        say(client, ledger, "chatter");
    } else if (client->state == CLIENT_IS_QUIET && now_ms() >= client->quiet_until_ms) {
        client->state = CLIENT_FINISHES;
        say(client, ledger, "late");
    }
}

static bool has_an_appointment(const struct client *client)
{
    return client->state == CLIENT_IS_QUIET ||
           (client->state == CLIENT_WAITS && client->chatter_left > 0);
}

static bool reads_now(const struct client *client)
{
    return client->state == CLIENT_FINISHES ||
           (client->state != CLIENT_IS_DONE && !client->plan.large);
}

/* One turn; false when all are done, and every bell of the round is heard. */
static bool attend(struct client *clients, int count, struct ledger *ledger, int timeout_ms)
{
    struct pollfd watched[1 + MOST_CONNECTIONS] = {{.fd = ledger->bell[0], .events = POLLIN}};
    bool open = false;

    for (int i = 0; i < count; i++) {
        act_in_time(&clients[i], ledger);
        open |= clients[i].state != CLIENT_IS_DONE || !clients[i].bell_has_rung;
        if (has_an_appointment(&clients[i]))
            timeout_ms = CHATTER_MS;
        watched[1 + i] = (struct pollfd){.fd = reads_now(&clients[i]) ? clients[i].fd : -1,
                                         .events = POLLIN};
    }
    if (!open)
        return false;
    require(poll(watched, 1 + (nfds_t)count, timeout_ms) >= 0);
    for (int i = 0; i < count; i++)
        if (watched[1 + i].revents)
            harvest(&clients[i], ledger);
    if (watched[0].revents)
        hear_bell(clients, ledger);
    return true;
}

void clients_see_it_through(struct client *clients, int count, struct ledger *ledger)
{
    const int64_t deadline = now_ms() + GENEROUS_MS;

    while (attend(clients, count, ledger, (int)(deadline - now_ms()))) {
        if (now_ms() < deadline)
            continue;
        for (int i = 0; i < count; i++) {
            accuse(&clients[i], ledger, "no end of the connection", 0);
            if (clients[i].state != CLIENT_IS_DONE)
                finish(&clients[i], ledger);
        }
        return;
    }
}
