"""A forking HTTP server of Python's own library.

    forking.py HOST PORT          the child shuts its connection down and closes it, then exits
    forking.py HOST PORT exits    the child exits with its connection open

GET /N is answered with N bytes of the pattern.
"""
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from socketserver import ForkingMixIn

from bodies import pattern


class Answers(BaseHTTPRequestHandler):
    def do_GET(self):
        length = int(self.path.lstrip("/") or 0)
        self.send_response(200)
        self.send_header("Content-Length", str(length))
        self.end_headers()
        self.wfile.write(pattern(length))

    def log_message(self, *_):
        pass


class Closing(ForkingMixIn, HTTPServer):
    pass


class Exiting(Closing):
    def shutdown_request(self, request):
        """ForkingMixIn calls this in the child, and os._exit() next; in the parent close_request()."""


host, port, *how = sys.argv[1:]
server = Exiting if how == ["exits"] else Closing
server((host, int(port)), Answers).serve_forever()
