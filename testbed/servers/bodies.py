"""A WSGI application: GET /N is answered with N bytes of the pattern. For gunicorn, waitress, uWSGI and cheroot."""

PERIOD = bytes(range(251))


def pattern(length):
    return (PERIOD * (length // len(PERIOD) + 1))[:length]


def application(environ, start_response):
    length = int(environ["PATH_INFO"].lstrip("/") or 0)
    headers = [("Content-Type", "application/octet-stream"), ("Content-Length", str(length))]
    start_response("200 OK", headers)
    return [pattern(length)]
