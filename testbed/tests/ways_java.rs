//! The JVM: `com.sun.net.httpserver`, and a `ServerSocket` with a thread for every connection.

linger_testbed::late_answers! {
    http_server: Specimen::JavaHttpServer,
    server_socket: Specimen::JavaServerSocket,
}
