"""What `nginx` loses and `linger run nginx` saves: a response that is still in its send queue when a late byte comes."""

import os
import socket
import subprocess
import sys
import tempfile
import time

BYTES = 3 << 20
DEADLINE_S = 60
ADDRESS = ("127.0.0.1", 8080)  # of a network namespace of our own


def connect(server):
    give_up = time.monotonic() + DEADLINE_S
    while True:
        client = socket.socket()
        client.settimeout(DEADLINE_S)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
        try:
            client.connect(ADDRESS)
            return client
        except ConnectionRefusedError:
            client.close()
        if server.poll() is not None or time.monotonic() > give_up:
            sys.exit(f"FAIL  nginx does not listen: {server.communicate()[1]}")
        time.sleep(0.01)


def closed_by_nginx(server):
    """Whether nginx has let go of its only connection: it has no established socket any more."""
    numbers = os.listdir(f"/proc/{server.pid}/fd")
    inodes = set()
    for number in numbers:
        try:
            target = os.readlink(f"/proc/{server.pid}/fd/{number}")
        except OSError:
            continue
        if target.startswith("socket:["):
            inodes.add(target[8:-1])
    with open("/proc/net/tcp") as table:
        rows = [line.split() for line in table.readlines()[1:]]
    return not any(row[9] in inodes and row[2] != "00000000:0000" for row in rows)


def fetch(server):
    """How many bytes of the body arrive at a client that sends something when nginx has closed."""
    client = connect(server)
    client.sendall(b"GET /page HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    answer = client.recv(1)
    give_up = time.monotonic() + DEADLINE_S
    while not closed_by_nginx(server):
        # The send queue may be smaller than the page: make room.
        if time.monotonic() > give_up:
            sys.exit("FAIL  nginx does not close")
        client.setblocking(False)
        try:
            answer += client.recv(64 * 1024)
        except BlockingIOError:
            time.sleep(0.01)
        client.settimeout(DEADLINE_S)
    try:
        client.sendall(b"late")
        while piece := client.recv(1 << 16):
            answer += piece
    except (ConnectionResetError, BrokenPipeError):
        pass
    client.close()
    return len(answer.partition(b"\r\n\r\n")[2])


def serve(command):
    with tempfile.TemporaryDirectory() as directory:
        os.chmod(directory, 0o755)
        with open(f"{directory}/page", "wb") as page:
            page.write(b"x" * BYTES)
        command = [*command, "-p", directory, "-c", "/tmp/packages/nginx.conf"]
        server = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        try:
            return fetch(server)
        finally:
            server.terminate()
            server.communicate(timeout=DEADLINE_S)


plain = serve(["nginx"])
saved = serve(["linger", "run", "nginx"])
print(f"{plain} of {BYTES} bytes from nginx, {saved} from linger run nginx")
if plain == BYTES:
    sys.exit("FAIL  nginx loses nothing: the test proves nothing")
if saved != BYTES:
    sys.exit("FAIL  linger run loses, too")
print("ok    linger run nginx")
