#include "post.h"

#include <poll.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "deadline.h"
#include "require.h"

void open_parcel(struct parcel *parcel)
{
    *parcel = (struct parcel){.byte = 'd'};
    parcel->body = (struct iovec){.iov_base = &parcel->byte, .iov_len = 1};
    parcel->message.msg_hdr =
        (struct msghdr){.msg_iov = &parcel->body, .msg_iovlen = 1, .msg_control = parcel->control,
                        .msg_controllen = sizeof(parcel->control)};
}

static long send_one(int over, struct mmsghdr *message, int flags)
{
    return sendmsg(over, &message->msg_hdr, flags);
}

static long send_many(int over, struct mmsghdr *message, int flags)
{
    return sendmmsg(over, message, 1, flags);
}

static long send_one_by_syscall(int over, struct mmsghdr *message, int flags)
{
    return syscall(SYS_sendmsg, over, &message->msg_hdr, flags);
}

static long send_many_by_syscall(int over, struct mmsghdr *message, int flags)
{
    return syscall(SYS_sendmmsg, over, message, 1, flags);
}

static long receive_one(int over, struct mmsghdr *message)
{
    return recvmsg(over, &message->msg_hdr, MSG_CMSG_CLOEXEC);
}

static long receive_many(int over, struct mmsghdr *message)
{
    return recvmmsg(over, message, 1, MSG_CMSG_CLOEXEC, NULL);
}

static long receive_one_by_syscall(int over, struct mmsghdr *message)
{
    return syscall(SYS_recvmsg, over, &message->msg_hdr, MSG_CMSG_CLOEXEC);
}

static long receive_many_by_syscall(int over, struct mmsghdr *message)
{
    return syscall(SYS_recvmmsg, over, message, 1, MSG_CMSG_CLOEXEC, NULL);
}

const struct post posts[POSTS] = {
    {"sendmsg", send_one, receive_one},
    {"sendmmsg", send_many, receive_many},
    {"SYS_sendmsg", send_one_by_syscall, receive_one_by_syscall},
    {"SYS_sendmmsg", send_many_by_syscall, receive_many_by_syscall},
};

long try_to_send_descriptor(const struct post *post, int over, int fd, int flags)
{
    struct parcel parcel;

    open_parcel(&parcel);
    struct cmsghdr *const rights = CMSG_FIRSTHDR(&parcel.message.msg_hdr);

    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(rights), &fd, sizeof(fd));
    return post->send(over, &parcel.message, flags);
}

void send_descriptor_by(const struct post *post, int over, int fd)
{
    require(try_to_send_descriptor(post, over, fd, 0) == 1);
}

int receive_descriptor_by(const struct post *post, int over)
{
    struct parcel parcel;
    int fd;

    open_parcel(&parcel);
    require(wait_for(over, POLLIN, GENEROUS_MS) & POLLIN);
    require(post->receive(over, &parcel.message) == 1);
    require(CMSG_FIRSTHDR(&parcel.message.msg_hdr) != NULL);
    memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&parcel.message.msg_hdr)), sizeof(fd));
    return fd;
}
