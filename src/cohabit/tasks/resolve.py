"""The resolver: finds the addresses of a syslog server's name; a child of process 1.

`python -I -S PATH/resolve.py HOST PORT udp|tcp`. A program of its own because getaddrinfo(3) waits for name servers,
and process 1 has no time; it imports nothing of this house.

Standard output is lines `ADDRESS PORT SCOPE` (numbers all; SCOPE is an IPv6 interface, 0 for none) in the order in
which they are to be tried, or one line `!WORDS` that says why there is none. It is written at once, so that whoever
reads a part has the whole. After SECONDS_MAX it ends by SIGALRM, whatever the name servers do.
"""

from __future__ import annotations

import os
import signal
import socket
import sys

FOUND, NOT_FOUND = 0, 1
_SECONDS_MAX = 30
_ANSWER_MAX = 4096  # PIPE_BUF of pipe(7): so much is written whole


def answer(host: str, port: str, kind: str) -> tuple[str, int]:
    """(what is printed, exit code)."""
    wanted = socket.SOCK_DGRAM if kind == "udp" else socket.SOCK_STREAM
    try:
        found = socket.getaddrinfo(host, port, type=wanted)
    except OSError as error:
        return f"!{error.strerror or error}\n", NOT_FOUND
    except UnicodeError:
        return "!it is no name of a host\n", NOT_FOUND
    lines = (_line(*where) for *_, where in found)
    text = ""
    for line in dict.fromkeys(lines):
        if len(text) + len(line) <= _ANSWER_MAX:
            text += line
    return text, FOUND


def _line(host: object, port: object, _flow: object = 0, scope: object = 0) -> str:
    return f"{str(host).partition('%')[0]} {port} {scope}\n"


def main(argv: list[str]) -> int:
    """Resolve what the arguments say. Returns the exit code."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGALRM})
    signal.alarm(_SECONDS_MAX)
    text, code = answer(*argv[1:4])
    os.write(1, text.encode())
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv))
