"""Attacks of another user's process on the sockets of cohabit: attack.py ACTION [ARGUMENT...], as nobody.

Root starts the program and it drops all privileges first, because the user nobody may not be able to reach the
interpreter. Each action prints `ready` when the attack is running, and continues until it is killed.
"""

import os
import signal
import socket
import sys
import threading
from collections.abc import Callable
from contextlib import suppress

UID = 65534


def full_queue(*directories: str) -> None:
    """Create a `control` socket with a full queue, which accepts no connection, in each directory."""
    kept = []
    for directory in directories:
        os.mkdir(directory)
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(f"{directory}/control")
        listener.listen(0)
        kept.append(listener)
        with suppress(BlockingIOError):
            while True:
                client = socket.socket(socket.AF_UNIX)
                client.setblocking(False)
                kept.append(client)
                client.connect(f"{directory}/control")
    stay()


def answer(path: str, code: str, *body: str) -> None:
    """Listen at a path and answer every request with these lines."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    listener = socket.socket(socket.AF_UNIX)
    with suppress(FileNotFoundError):
        os.unlink(path)
    listener.bind(path)
    os.chmod(path, 0o666)  # noqa: S103 - every user may connect
    listener.listen()
    serve(listener, "\n".join((code, *body, "")).encode())


def answer_passed(code: str, *body: str) -> None:
    """The same on an inherited listener (LISTEN_FDS)."""
    serve(socket.socket(fileno=3), "\n".join((code, *body, "")).encode())


def serve(listener: socket.socket, text: bytes) -> None:
    """Answer every request on this listener with the text."""
    print("ready", flush=True)
    while True:
        client, _ = listener.accept()
        with client, suppress(OSError):
            client.recv(65536)
            client.sendall(text)


def links(target: str, *paths: str) -> None:
    """Create links to a target, and their directories."""
    for path in paths:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        os.symlink(target, path)
    stay()


def directories(beginning: str, count: str) -> None:
    """Create many directories with a `control` in each."""
    for number in range(int(count)):
        os.mkdir(f"{beginning}{number}")
        os.symlink("/dev/null", f"{beginning}{number}/control")
    stay()


def connects(path: str) -> None:
    """Connect repeatedly, as fast as possible, in several threads."""

    def flood() -> None:
        while True:
            with socket.socket(socket.AF_UNIX) as client, suppress(OSError):
                client.connect(path)

    in_threads(flood, 2)


def waits_for_answers(path: str) -> None:
    """Connect, read the refusal to its end, and repeat."""

    def flood() -> None:
        while True:
            with socket.socket(socket.AF_UNIX) as client, suppress(OSError):
                client.connect(path)
                while client.recv(1000):
                    pass

    in_threads(flood, 2)


def stays_connected(path: str, count: str) -> None:
    """Open many connections that are never closed, each with half a request."""
    kept = []
    for _ in range(int(count)):
        client = socket.socket(socket.AF_UNIX)
        with suppress(OSError):
            client.connect(path)
            client.send(b"cohabit/2 ")
        kept.append(client)
    stay()


def datagrams(path: str, text: str = "READY=1") -> None:
    """Send the same message repeatedly."""

    def flood() -> None:
        sender = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        while True:
            with suppress(OSError):
                sender.sendto(text.encode(), path)

    in_threads(flood, 2)


def in_threads(flood: Callable[[], None], count: int) -> None:
    """Run the function in several threads."""
    for _ in range(count):
        threading.Thread(target=flood, daemon=True).start()
    stay()


def stay() -> None:
    """Report that the attack is running, and wait to be killed."""
    print("ready", flush=True)
    signal.pause()


def main() -> None:
    """Become the user nobody; run the action that the first argument names."""
    os.setgroups([])
    os.setgid(UID)
    os.setuid(UID)
    globals()[sys.argv[1]](*sys.argv[2:])


main()
