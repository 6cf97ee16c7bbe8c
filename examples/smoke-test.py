#!/usr/bin/python3
"""smoke-test.py EXAMPLES RELEASE: every example serves a client that loses its answer to a plain close().

EXAMPLES is where the examples were built, RELEASE where cargo puts programs. LD_LIBRARY_PATH leads to liblinger.so.0.

The client has a small window, sends a body that the server does not read, and sends more of it when the answer has
begun: before the server closes or after, the kernel answers with RST. So each example must lose part of the answer with
--plain-close, or the test proves nothing, and none of it without.
"""

import contextlib
import os
import select
import signal
import socket
import subprocess
import sys

DEADLINE_S = 60
WINDOW_BYTES = 16 * 1024
PAGE_BYTES = 256 * 1024

HERE = os.path.dirname(os.path.abspath(__file__))


class Failure(Exception):
    pass


class Example:
    """A server to try: its command, whether it needs liblinger.so (None: not to be asked), whether it stops by itself."""

    def __init__(self, name, command, needs=None, stops=True):
        self.name, self.command, self.needs, self.stops = name, command, needs, stops


def examples(built, release):
    def c(name, needs, stops=True):
        return Example(name, [os.path.join(built, name)], needs, stops)

    return [
        c("blocking_server", True, stops=False),
        c("epoll_server", True),
        c("epoll_server-static", False),
        c("graceful_stop", True),
        c("libevent_server", True),
        c("libuv_server", True),
        c("raii_server", True),
        c("cmake/blocking_server", True, stops=False),
        c("cmake/epoll_server", False),
        c("cmake/raii_server", False),
        c("meson/blocking_server", True, stops=False),
        c("meson/epoll_server", False),
        c("meson/raii_server", True),
        Example("python/server.py", [sys.executable, os.path.join(HERE, "python/server.py")]),
        Example("rust/std_server", [os.path.join(release, "std_server")], False),
        Example("rust/tokio_server", [os.path.join(release, "tokio_server")], False),
    ]


@contextlib.contextmanager
def running(command):
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        line = server.stdout.readline()
        if not line.startswith("listening on 127.0.0.1:"):
            server.kill()
            raise Failure("did not start: " + server.communicate(timeout=DEADLINE_S)[1].strip())
        yield server, int(line.rsplit(":", 1)[1])
    finally:
        if server.poll() is None:
            server.kill()
        server.communicate()


class Client:
    """Asks, and sees the first byte of the answer."""

    def __init__(self, port):
        self.socket = socket.socket()
        self.socket.settimeout(DEADLINE_S)
        # tcp(7): it bounds the window if it is set before connect(2).
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, WINDOW_BYTES)
        self.socket.connect(("127.0.0.1", port))
        head = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n"
        self.socket.sendall(head + b"b" * 8192)
        self.answer = self.socket.recv(1)

    def finish(self):
        """Sends more, reads to the end, and says what is wrong with the answer; None if nothing is."""
        fate = None
        try:
            self.socket.sendall(b"b" * 8192)
            while piece := self.socket.recv(65536):
                self.answer += piece
        except (ConnectionResetError, BrokenPipeError) as error:
            fate = error.strerror
        self.socket.close()
        page = self.answer.partition(b"\r\n\r\n")[2]
        if len(page) != PAGE_BYTES or page.strip(b"x"):
            return f"{len(page)} of {PAGE_BYTES} bytes, then {fate or 'FIN'}"
        return fate


def check_linking(example):
    said = subprocess.run(["readelf", "-d", example.command[0]], check=True, capture_output=True, text=True).stdout
    if ("[liblinger.so.0]" in said) != example.needs:
        raise Failure("needs liblinger.so.0" if not example.needs else "does not need liblinger.so.0")


def check_answers(example):
    with running([*example.command, "--plain-close"]) as (_, port):
        if Client(port).finish() is None:
            raise Failure("nothing is lost with --plain-close: the test proves nothing")
    with running(example.command) as (server, port):
        # Three, one after the other: the server outlives what it let go of.
        for _ in range(3):
            lost = Client(port).finish()
            if lost:
                raise Failure(f"the answer is lost: {lost}")
        check_stop(example, server)


def check_stop(example, server):
    if not example.stops:
        return
    server.send_signal(signal.SIGTERM)
    if server.wait(timeout=DEADLINE_S) != 0:
        raise Failure(f"status {server.returncode} after SIGTERM: {server.stderr.read().strip()}")


def check_graceful_stop(example):
    """A client that is in the middle of its answer when the server stops."""
    for option, expected in (["--no-flush"], False), ([], True):
        with running([*example.command, *option]) as (server, port):
            client = Client(port)
            # It stops when all of the answer is in its send queue.
            server.send_signal(signal.SIGTERM)
            while not is_stopping(server):
                client.answer += client.socket.recv(WINDOW_BYTES)
            if not expected:
                server.wait(timeout=DEADLINE_S)
            lost = client.finish()
            if (lost is None) != expected:
                raise Failure(f"{' '.join(option) or 'with linger_flush()'}: {lost or 'nothing is lost'}")
            if server.wait(timeout=DEADLINE_S) != 0:
                raise Failure(f"status {server.returncode}")


def is_stopping(server):
    """Whether it has said so; if it says nothing for a while, it may need the client to read on."""
    if not select.select([server.stdout], [], [], 1)[0]:
        return False
    line = server.stdout.readline()
    if line != "stopping: 1 linger\n":
        raise Failure(f"said {line!r}")
    return True


def main():
    built, release = sys.argv[1:]
    failed = 0
    checks = []
    for example in examples(built, release):
        if example.needs is not None:
            checks.append((check_linking, example))
        checks.append((check_answers, example))
        if example.name == "graceful_stop":
            checks.append((check_graceful_stop, example))
    for check, example in checks:
        what = check.__name__.removeprefix("check_").replace("_", " ")
        try:
            check(example)
        except (Failure, OSError, subprocess.SubprocessError) as error:
            failed += 1
            print(f"FAIL  {example.name} ({what}): {error}")
        else:
            print(f"ok    {example.name} ({what})")
    print(f"{len(checks) - failed} passed, {failed} failed")
    sys.exit(failed > 0)


main()
