"""A WSGI application: GET /N answers with N bytes; whatever has a body is refused without being read."""


def application(environ, start_response):
    if int(environ.get("CONTENT_LENGTH") or 0):
        return answer(start_response, "413 Content Too Large", b"At most 0 bytes, please.\n" * 40_000)
    return answer(start_response, "200 OK", b"x" * int(environ["PATH_INFO"].strip("/") or 0))


def answer(start_response, status, body):
    start_response(status, [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]
