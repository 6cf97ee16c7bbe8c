//! Programs that let go of their connection by exiting.

linger_testbed::late_answers! {
    micro_httpd: Specimen::MicroHttpd,
    busybox_under_inetd: Specimen::BusyboxInetd,
    busybox: Specimen::Busybox,
}
