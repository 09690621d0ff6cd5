"""The application: greets, counts visits in Redis, and sets the count back for who has the token."""

import os
import socket
from collections.abc import Callable


def application(environ: dict[str, str], start_response: Callable[..., object]) -> list[bytes]:
    """WSGI, PEP 3333."""
    status, text = answer(environ)
    start_response(status, [("Content-Type", "text/plain")])
    return [f"{text}\n".encode()]


def answer(environ: dict[str, str]) -> tuple[str, str]:
    """The status, and what is said."""
    if environ["PATH_INFO"] != "/reset":
        return "200 OK", f"{os.environ['GREETING']}, visit {redis('INCR visits').removeprefix(':')}"
    if environ["QUERY_STRING"] != os.environ["TOKEN"]:
        return "403 Forbidden", "not without the token"
    redis("SET visits 0")
    return "200 OK", "back to 0"


def redis(command: str) -> str:
    """What Redis says to this."""
    with socket.create_connection(("127.0.0.1", 6379)) as connection:
        connection.sendall(f"{command}\r\n".encode())
        return connection.makefile().readline().strip()
