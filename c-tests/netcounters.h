/* The kernel's own account of resets, per network namespace. */
#ifndef NETCOUNTERS_H
#define NETCOUNTERS_H

struct netcounters {
    long out_rsts;       /* Tcp OutRsts: every reset sent, whatever the reason */
    long estab_resets;   /* Tcp EstabResets: connections that a reset ended */
    long abort_on_close; /* TcpExt TCPAbortOnClose: unread input at close() */
    long abort_on_data;  /* TcpExt TCPAbortOnData: input after close(); misses
                            resets sent out of FIN_WAIT2 and TIME_WAIT */
};

struct netcounters netcounters_now(void);

/* Connections ended by a reset since `before`. Not resets sent: on a busy machine an
 * ACK waits in one processor's queue until the client has closed and is forgotten, and
 * the kernel answers it with a reset that ends nothing. */
long resets_since(const struct netcounters *before);

#endif
