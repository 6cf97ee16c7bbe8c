#include "reset_witness.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "require.h"

enum { TCP_FLAGS_AT = 13, RST = 4, IP_PROTOCOL_AT = 9 };

/* Loopback shows every packet twice, leaving and arriving: only the latter counts. */
static void see_resets_only(int witness, in_port_t port)
{
    struct sock_filter resets[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (unsigned)(SKF_AD_OFF + SKF_AD_PKTTYPE)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, PACKET_HOST, 0, 8),
        BPF_STMT(BPF_LD | BPF_B | BPF_ABS, IP_PROTOCOL_AT),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, IPPROTO_TCP, 0, 6),
        BPF_STMT(BPF_LDX | BPF_B | BPF_MSH, 0),
        BPF_STMT(BPF_LD | BPF_H | BPF_IND, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ntohs(port), 0, 3),
        BPF_STMT(BPF_LD | BPF_B | BPF_IND, TCP_FLAGS_AT),
        BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, RST, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, 1),
        BPF_STMT(BPF_RET | BPF_K, 0),
    };
    const struct sock_fprog program = {.len = sizeof(resets) / sizeof(resets[0]),
                                       .filter = resets};

    require(setsockopt(witness, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program)) == 0);
}

int reset_witness_open(const struct host *host)
{
    const int witness = socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    const struct sockaddr_ll everything = {.sll_family = AF_PACKET,
                                           .sll_protocol = htons(ETH_P_IP)};

    require(witness >= 0);
    see_resets_only(witness, ((const struct sockaddr_in *)&host->address)->sin_port);
    require(bind(witness, (const struct sockaddr *)&everything, sizeof(everything)) == 0);
    return witness;
}

long reset_witness_count(int witness)
{
    char byte;
    long count = 0;

    while (recv(witness, &byte, 1, 0) >= 0)
        count++;
    require(errno == EAGAIN);
    return count;
}
