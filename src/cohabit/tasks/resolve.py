"""The resolver: looks up the addresses of a syslog server's host name; a child of process 1.

`python -I -S PATH/resolve.py HOST PORT udp|tcp`. It is a separate program because getaddrinfo(3) waits for name
servers.

Standard output is lines `ADDRESS PORT SCOPE`, all numeric (SCOPE is an IPv6 interface, 0 for none), in the order in
which they should be tried, or one line `!TEXT` with the reason why there are none. It is written in one write(2), so a
reader gets all or nothing. The exit code is 0 if addresses were found, otherwise 1. After 30 seconds SIGALRM ends the
program.
"""

from __future__ import annotations

import os
import signal
import socket
import sys

FOUND, NOT_FOUND = 0, 1
_SECONDS_MAX = 30
_ANSWER_MAX = 4096  # PIPE_BUF: the largest atomic write to a pipe (pipe(7))


def answer(host: str, port: str, kind: str) -> tuple[str, int]:
    """(output, exit code)."""
    socket_type = socket.SOCK_DGRAM if kind == "udp" else socket.SOCK_STREAM
    try:
        found = socket.getaddrinfo(host, port, type=socket_type)
    except OSError as error:
        return f"!{error.strerror or error}\n", NOT_FOUND
    except UnicodeError:
        return "!not a valid host name\n", NOT_FOUND
    lines = (_line(*where) for *_, where in found)
    text = ""
    for line in dict.fromkeys(lines):
        if len(text) + len(line) <= _ANSWER_MAX:
            text += line
    return text, FOUND


def _line(host: object, port: object, _flow: object = 0, scope: object = 0) -> str:
    return f"{str(host).partition('%')[0]} {port} {scope}\n"


def main(argv: list[str]) -> int:
    """Look up what the arguments name. Returns the exit code."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGALRM})
    signal.alarm(_SECONDS_MAX)
    text, code = answer(*argv[1:4])
    os.write(1, text.encode())
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv))
