//! Python's WSGI servers: threads, and workers that were forked before the connection came.

linger_testbed::late_answers! {
    gunicorn_sync: Specimen::GunicornSync,
    gunicorn_gthread: Specimen::GunicornThreads,
    waitress: Specimen::Waitress,
    uwsgi: Specimen::Uwsgi,
}
