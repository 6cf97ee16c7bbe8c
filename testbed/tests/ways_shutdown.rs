//! `shutdown(SHUT_RDWR)`, then `close`: what comes after the shutdown resets the connection.

linger_testbed::late_answers! {
    php_files: Specimen::PhpFiles,
    php_script: Specimen::PhpScript,
    cheroot: Specimen::Cheroot,
    twisted: Specimen::Twisted,
}
