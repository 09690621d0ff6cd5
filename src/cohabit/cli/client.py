"""Shared by all commands that send requests to the running cohabit: the output and the exit code.

cohabit.client sends the requests. Text for people goes to stdout on success and to stderr on failure; with --json one
object goes to stdout in both cases. A client is an ordinary program: ^C ends it, and so does SIGPIPE when the reader of
its output has gone. Each command's `main` therefore restores the signal dispositions that process 1 would have changed.
"""

from __future__ import annotations

import json
import select

from cohabit.cli.options import JSON, SOCKET
from cohabit.client import Client
from cohabit.reactor.linux import environment, os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from cohabit.cli.options import Command
    from cohabit.client import Answer

ALWAYS = (JSON, SOCKET)  # options of every command that sends requests
# Exit codes of every command that sends requests, listed after its own.
EXIT_CODES = (
    ("64", "wrong usage, or no such service"),
    ("69", "no cohabit is running here, or it does not answer"),
    ("71", "the system refused"),
    ("77", "this user may not send requests to it"),
)
DONE = (("0", "done"), ("1", "it failed; the message says why"), *EXIT_CODES)
_SIGPIPE_CODE = 141  # how a shell shows a writer whose reader has gone
_WIDTH = 80


def connect(command: Command, values: dict[str, Any]) -> Client:
    """The running cohabit that the options name. Errors name the command that was typed."""
    return Client(values["socket"], command=command.name)


def print_result(values: dict[str, Any], answer: Answer) -> int:
    """Print the outcome of a request without a body; returns the exit code."""
    if values["json"]:
        write(json.dumps({"code": answer.code, "text": answer.text}) + "\n")
    elif answer.code:
        write(f"cohabit: {answer.message}\n", 2)
    elif answer.text:
        write(f"{answer.text}\n")
    return answer.code


def write(text: str | bytes, fd: int = 1) -> None:
    """Write everything. Ends the process when the reader has gone and SIGPIPE is ignored."""
    data = memoryview(text.encode("utf-8", "surrogateescape") if isinstance(text, str) else text)
    try:
        while data:
            try:
                data = data[os.write(fd, data) :]
            except BlockingIOError:
                select.select([], [fd], [])
    except OSError:
        os._exit(_SIGPIPE_CODE)


def print_dropped(count: int) -> None:
    """Report on stderr how many bytes of a stream the running cohabit has left out for this client."""
    write(f"cohabit: {count} bytes were left out (is the reader too slow?)\n", 2)


def write_lines(lines: Sequence[str]) -> None:
    """Write lines to stdout, each with a newline."""
    write("".join(f"{line}\n" for line in lines))


def is_terminal() -> bool:
    """Whether stdout is a terminal with a movable cursor."""
    return os.isatty(1) and environment().get("TERM") != "dumb"


def uses_colour() -> bool:
    """Whether stdout is a terminal and NO_COLOR is not set (no-color.org)."""
    return is_terminal() and not environment().get("NO_COLOR")


def terminal_size(default: int = _WIDTH) -> tuple[int, int]:
    """(columns, lines) of the terminal; (default, 0) if stdout is not a terminal. 0 lines: no limit."""
    try:
        found = os.get_terminal_size(1)
    except OSError:
        return default, 0
    return found.columns or _WIDTH, found.lines
