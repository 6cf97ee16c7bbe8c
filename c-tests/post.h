/* Descriptors on their way over a Unix socket: unix(7), SCM_RIGHTS. */
#ifndef POST_H
#define POST_H

#include <stddef.h>
#include <sys/socket.h>

/* A message with one descriptor, or room for it. */
struct parcel {
    char byte;
    _Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int))];
    struct iovec body;
    struct mmsghdr message;
};

void open_parcel(struct parcel *parcel);

/* One function each that sends, and one that receives, with -1 or more than 0. */
struct post {
    const char *name;
    long (*send)(int over, struct mmsghdr *message, int flags);
    long (*receive)(int over, struct mmsghdr *message);
};

enum { POSTS = 4 };

/* The first is sendmsg(2) and recvmsg(2); then those for many, and both by syscall(2). */
extern const struct post posts[POSTS];

long try_to_send_descriptor(const struct post *post, int over, int fd, int flags);
void send_descriptor_by(const struct post *post, int over, int fd);
int receive_descriptor_by(const struct post *post, int over);

#endif
