"""What a process of another user does to the sockets of cohabit: attack.py ACTION [WORD...], as nobody.

The interpreter may be where nobody cannot reach it, so root starts this and it gives up everything first. Each action
prints `ready` when it stands, and goes on until it is killed.
"""

import os
import signal
import socket
import sys
import threading
from collections.abc import Callable
from contextlib import suppress

NOBODY = 65534


def full_queue(*directories: str) -> None:
    """A `control` socket in each directory that accepts nobody, with a full queue."""
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
    """Listen at a path and answer everything with these lines."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    listener = socket.socket(socket.AF_UNIX)
    with suppress(FileNotFoundError):
        os.unlink(path)
    listener.bind(path)
    os.chmod(path, 0o666)  # noqa: S103 - everybody may ask
    listener.listen()
    serve(listener, "\n".join((code, *body, "")).encode())


def answer_passed(code: str, *body: str) -> None:
    """The same on a listener that was passed on (LISTEN_FDS)."""
    serve(socket.socket(fileno=3), "\n".join((code, *body, "")).encode())


def serve(listener: socket.socket, text: bytes) -> None:
    """Answer everything on this listener with the text."""
    print("ready", flush=True)
    while True:
        client, _ = listener.accept()
        with client, suppress(OSError):
            client.recv(65536)
            client.sendall(text)


def links(target: str, *paths: str) -> None:
    """Links to a target; their directories are made."""
    for path in paths:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        os.symlink(target, path)
    stay()


def directories(beginning: str, count: str) -> None:
    """A great many directories with a `control` in each."""
    for number in range(int(count)):
        os.mkdir(f"{beginning}{number}")
        os.symlink("/dev/null", f"{beginning}{number}/control")
    stay()


def connects(path: str) -> None:
    """Connect again and again, as fast as it goes, by several threads."""

    def flood() -> None:
        while True:
            with socket.socket(socket.AF_UNIX) as client, suppress(OSError):
                client.connect(path)

    in_threads(flood, 2)


def waits_for_answers(path: str) -> None:
    """Connect, read the refusal to its end, and again."""

    def flood() -> None:
        while True:
            with socket.socket(socket.AF_UNIX) as client, suppress(OSError):
                client.connect(path)
                while client.recv(1000):
                    pass

    in_threads(flood, 2)


def stays_connected(path: str, count: str) -> None:
    """Many connections that are never closed, each with half a request."""
    kept = []
    for _ in range(int(count)):
        client = socket.socket(socket.AF_UNIX)
        with suppress(OSError):
            client.connect(path)
            client.send(b"cohabit/2 ")
        kept.append(client)
    stay()


def datagrams(path: str, text: str = "READY=1") -> None:
    """Send the same message again and again."""

    def flood() -> None:
        sender = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        while True:
            with suppress(OSError):
                sender.sendto(text.encode(), path)

    in_threads(flood, 2)


def in_threads(flood: Callable[[], None], count: int) -> None:
    """Run it several times at once."""
    for _ in range(count):
        threading.Thread(target=flood, daemon=True).start()
    stay()


def stay() -> None:
    """Say that everything stands, and wait to be killed."""
    print("ready", flush=True)
    signal.pause()


def main() -> None:
    """Become nobody; do what the first word says."""
    os.setgroups([])
    os.setgid(NOBODY)
    os.setuid(NOBODY)
    globals()[sys.argv[1]](*sys.argv[2:])


main()
