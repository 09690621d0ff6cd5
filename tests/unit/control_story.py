"""A server that speaks the control protocol (docs/reference/control.md) as a test tells it to, in a thread."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import cohabit

MAIN = os.path.join(os.path.dirname(os.path.abspath(cohabit.__file__)), "__main__.py")

_AT_MOST_SECONDS = 20.0

Answers = Mapping[str, bytes | Callable[[socket.socket], None]]

CONTAINER: dict[str, Any] = {
    "version": "0.4.0", "protocol": 2, "pid": 1, "time": 1_700_000_100.0, "started": 1_700_000_000.0, "phase": "up",
    "ready": True, "exit_reason": "", "code": None, "stop_grace_seconds": 9.0, "reading": False, "memory_limit": None,
}  # fmt: skip


def service(name: str, **other: Any) -> dict[str, Any]:
    """One service as `status` tells it: it runs and is ready, unless said otherwise."""
    return {
        "name": name, "service": name, "replica": 0, "state": "RUNNING", "since": 1_700_000_001.0, "want": "up",
        "restart_pending": False, "gone": False, "ready": True, "health": "", "status": "", "pid": 10, "pids": [10],
        "code": None, "why": "", "out_of_memory": False, "starts": 1, "restarts": 0, "attempts": None,
        "restart": "no", "started": 1_700_000_000.5, "next": None, "hook_stage": "", "hook_index": 0, "depends_on": [],
        "essential": True, "job": False, "schedule": "", "command": ["serve"], "driver": "prefix",
        "stop_signal": "SIGTERM", "stop_grace_seconds": 10.0, "on_failure": "none", "probe": None, "results": [],
        "history": [], "timeline": [], "output": [],
    } | other  # fmt: skip


def answer(code: int, text: str = "", *objects: object) -> bytes:
    """One whole answer."""
    return f"{code} {text}\n".encode() + b"".join(json.dumps(one).encode() + b"\n" for one in objects)


def status(*services: dict[str, Any], **container: Any) -> bytes:
    """Return an answer to `status`."""
    return answer(0, "", CONTAINER | container, *services)


class Server:
    """requests: the lines that have come, without their newline."""

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
        """Stop listening, and wait until whoever is being answered has been."""
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
                request = lines.readline().decode()[:-1]
                if not request:
                    continue  # looked for somebody else
                self.requests.append(request)
                told = self._answers.get(request.split(" ", 2)[1], answer(64, "unknown"))
                try:
                    if callable(told):
                        told(client)
                    else:
                        client.sendall(told)
                except OSError:
                    continue  # the client has gone


@contextmanager
def serving(directory: str | os.PathLike[str], answers: Answers) -> Iterator[Server]:
    """A server that gives these answers by their verbs, while the context lasts."""
    server = Server(os.path.join(directory, "control"), answers)
    try:
        yield server
    finally:
        server.close()


def run_client(*words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run `cohabit WORD...` to its end, with these variables and nothing else of ours but PATH."""
    environment = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", **variables}
    command = [sys.executable, "-I", "-S", MAIN, *words]
    options: dict[str, Any] = {"capture_output": True, "encoding": "utf-8", "errors": "backslashreplace"}
    return subprocess.run(command, check=False, env=environment, timeout=60, **options)
