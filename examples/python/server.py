#!/usr/bin/env python3
"""liblinger from Python, by ctypes: no compiler, no extension module.

server.py [--plain-close]: serves one client after another until SIGTERM or SIGINT. The loader must find liblinger.so.0:
in its usual places after ldconfig, or by LD_LIBRARY_PATH.
"""

import ctypes
import os
import signal
import socket
import sys

DEFAULT = -1  # LINGER_DEFAULT of linger.h

_library = ctypes.CDLL("liblinger.so.0", use_errno=True)
_library.linger_close.argtypes = [ctypes.c_int, ctypes.c_int]
_library.linger_flush.argtypes = [ctypes.c_int]


def linger_close(connection, timeout_ms=DEFAULT):
    """Lets go of a socket object, and returns at once.

    detach() takes the descriptor out of the object, which would close it again otherwise. Where the connection has a file
    of socket.makefile(), close that before: it keeps the descriptor open.
    """
    if _library.linger_close(connection.detach(), timeout_ms) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def linger_flush(timeout_ms=DEFAULT):
    """Waits until nothing lingers, and returns how many connections still do. Other Python threads go on: ctypes releases
    the interpreter lock."""
    return _library.linger_flush(timeout_ms)


def serve(connection):
    head = b""
    while b"\r\n\r\n" not in head and len(head) < 4096:
        piece = connection.recv(1024)
        if not piece:
            return
        head += piece
    page = b"x" * (256 * 1024)
    connection.sendall(
        b"HTTP/1.1 413 Content Too Large\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % len(page) + page
    )


def stop(_number, _frame):
    raise SystemExit


def main():
    plain_close = "--plain-close" in sys.argv
    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    listener = socket.create_server(("127.0.0.1", 0))
    print("listening on 127.0.0.1:%d" % listener.getsockname()[1], flush=True)
    try:
        while True:
            connection, _ = listener.accept()
            try:
                serve(connection)
            except OSError as error:
                print(error, file=sys.stderr)
            finally:
                if plain_close:
                    connection.close()
                else:
                    linger_close(connection)
    finally:
        listener.close()
        linger_flush(5000)


main()
