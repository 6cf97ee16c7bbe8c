//! HAProxy: SHUT_WR and `close` at once, with the connection still in its epoll set.

linger_testbed::late_answers! {
    haproxy: Specimen::HaProxy,
}
