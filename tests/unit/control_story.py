"""A server of the control protocol (docs/reference/control.md) with answers given by the test. It runs in a thread."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import cohabit
from cohabit.api import protocol

MAIN = os.path.join(os.path.dirname(os.path.abspath(cohabit.__file__)), "__main__.py")

_AT_MOST_SECONDS = 20.0

Answers = Mapping[str, bytes | Callable[[socket.socket], None]]

CONTAINER: dict[str, Any] = {
    "version": "0.4.0", "protocol": 2, "pid": 1, "time": 1_700_000_100.0, "started": 1_700_000_000.0, "phase": "up",
    "ready": True, "exit_reason": "", "code": None, "stop_grace_seconds": 9.0, "reading": False, "memory_limit": None,
}  # fmt: skip


def service(name: str, **other: Any) -> dict[str, Any]:
    """Return one service as in `status`. It runs and is ready unless `other` overrides the fields."""
    return {
        "name": name, "service": name, "replica": 0, "state": "RUNNING", "since": 1_700_000_001.0, "want": "up",
        "restart_pending": False, "gone": False, "ready": True, "health": "", "status": "", "pid": 10, "pids": [10],
        "code": None, "why": "", "out_of_memory": False, "starts": 1, "restarts": 0, "attempts": None,
        "restart": "no", "started": 1_700_000_000.5, "next": None, "hook_stage": "", "hook_index": 0, "depends_on": [],
        "essential": True, "ends_on_success": True, "job": False, "schedule": "", "autostart": True,
        "command": ["serve"], "driver": "prefix",
        "stop_signal": "SIGTERM", "stop_grace_seconds": 10.0, "on_failure": "none", "probe": None, "results": [],
        "history": [], "timeline": [], "output": [],
    } | other  # fmt: skip


def answer(code: int, text: str = "", *objects: object) -> bytes:
    """Return one whole answer, with the usual error code of its exit code."""
    return protocol.head(code, text) + b"".join(json.dumps(one).encode() + b"\n" for one in objects)


def status(*services: dict[str, Any], **container: Any) -> bytes:
    """Return an answer to `status`."""
    return answer(0, "", CONTAINER | container, *services)


class Server:
    """A server on a socket, for one request per connection. requests: the received lines, without id and newline.

    Its answers have no chunks, as those of a cohabit that closes the connection.
    """

    def __init__(self, path: str, answers: Answers) -> None:
        self.path = path
        self.requests: list[str] = []
        self._answers = answers
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(path)
        self._socket.listen()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def close(self) -> None:
        """Stop listening, and wait for the end of the answer in progress."""
        self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._socket.close()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._socket.accept()
            except OSError:
                return
            client.settimeout(_AT_MOST_SECONDS)
            with client, client.makefile("rb") as lines:
                request = re.sub(" #[0-9]+ ", " ", lines.readline().decode()[:-1], count=1)
                if not request:
                    continue  # the client closed the connection without a request
                self.requests.append(request)
                given = self._answers.get(request.split(" ", 2)[1], answer(64, "unknown"))
                try:
                    if callable(given):
                        given(client)
                    else:
                        client.sendall(given)
                except OSError:
                    continue  # the client has gone


@contextmanager
def serving(directory: str | os.PathLike[str], answers: Answers) -> Iterator[Server]:
    """Run a server that gives these answers, by command, while the context lasts."""
    server = Server(os.path.join(directory, "control"), answers)
    try:
        yield server
    finally:
        server.close()


def run_client(
    *arguments: str,
    input: str | None = None,  # noqa: A002
    **variables: str,
) -> subprocess.CompletedProcess[str]:
    """Run `cohabit ARGUMENT...` to its end. Its environment has these variables, PATH and LC_ALL only.

    input: its standard input; /dev/null without one.
    """
    environment = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", **variables}
    command = [sys.executable, "-I", "-S", MAIN, *arguments]
    options: dict[str, Any] = {"capture_output": True, "encoding": "utf-8", "errors": "backslashreplace"}
    options |= {"stdin": subprocess.DEVNULL} if input is None else {"input": input}
    return subprocess.run(command, check=False, env=environment, timeout=60, **options)
