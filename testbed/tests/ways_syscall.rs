//! Node closes with `syscall(SYS_close)`, past libc's `close`; its cluster module hands connections to another process.

linger_testbed::late_answers! {
    node: Specimen::Node,
    node_cluster: Specimen::NodeCluster,
}
