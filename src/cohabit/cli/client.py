"""What all verbs that talk to a running cohabit share: ask, say what came of it, end with the right code.

Words for people go to stdout when it was done and to stderr when not; with --json the same is one object on stdout.
A client is an ordinary program: ^C ends it, and so does a reader of its output that has gone (`main` of each verb
gives back the signals, which process 1 would keep from itself).
"""

from __future__ import annotations

import json
import select

from cohabit.cli import connection
from cohabit.cli.options import JSON, SOCKET
from cohabit.errors import EXIT_UNAVAILABLE, CohabitError
from cohabit.reactor.linux import environment, os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from cohabit.cli.connection import Answer
    from cohabit.cli.options import Command

ALWAYS = (JSON, SOCKET)  # options of every talking verb
# Exit codes of every talking verb, behind its own.
EXITS = (
    ("64", "wrong usage, or there is no such service"),
    ("69", "no cohabit is running here, or it does not answer"),
    ("71", "the system refused"),
    ("77", "it does not talk to this user"),
)
DONE = (("0", "done"), ("1", "it failed; the line says why"), *EXITS)
_SIGPIPE_CODE = 141  # how a shell shows a writer whose reader has gone
_WIDTH = 80


class RefusedError(CohabitError):
    """The answer was no: its reason and its exit code."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def ask(
    verb: Command,
    values: dict[str, Any],
    request: str,
    words: Sequence[str] = (),
    *,
    seconds: float | None = connection.ANSWER_SECONDS,
    notice: Callable[[], None] | None = None,
    streams: bool = False,
) -> Answer:
    """An answer whatever its code is, its errors in terms of the verb that was typed. Raises ConnectionFailedError."""
    path, by = values["socket"], verb.name
    answer = connection.ask(request, words, path=path, seconds=seconds, by=by, notice=notice, streams=streams)
    beginning = f"cannot {request}: "
    if answer.text.startswith(beginning):
        answer.text = f"cannot {verb.name}: {answer.text.removeprefix(beginning)}"
    return answer


def body(
    verb: Command, values: dict[str, Any], request: str, words: Sequence[str] = (), *, streams: bool = False
) -> Answer:
    """An answer that has a body to read. streams: it may take as long as it likes. Raises RefusedError, too."""
    answer = ask(verb, values, request, words, streams=streams)
    if answer.code:
        raise RefusedError(sentence(verb, answer.text), answer.code)
    return answer


def status(
    verb: Command, values: dict[str, Any], services: Sequence[str] = (), *, output: int = 0
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """(the container's object, those of the services) of `status`."""
    words = [*services, *([f"output={output}"] if output else [])]
    objects = [json.loads(line) for line in body(verb, values, "status", words).lines()]
    if not objects:
        raise RefusedError(sentence(verb, "the answer broke off (try again)"), EXIT_UNAVAILABLE)
    return objects[0], objects[1:]


def tell(verb: Command, values: dict[str, Any], answer: Answer) -> int:
    """Say how it went: the whole output of a verb without a body. Returns the exit code."""
    if values["json"]:
        write(json.dumps({"code": answer.code, "text": answer.text}) + "\n")
    elif answer.code:
        write(f"cohabit: {sentence(verb, answer.text)}\n", 2)
    elif answer.text:
        write(f"{answer.text}\n")
    return answer.code


def sentence(verb: Command, text: str) -> str:
    """A reason as the whole sentence that errors are."""
    return text if text.startswith("cannot ") else f"cannot {verb.name}: {text}"


def write(text: str | bytes, fd: int = 1) -> None:
    """All of it. Ends the process when the reader has gone and the signal that says so is ignored."""
    data = memoryview(text.encode("utf-8", "surrogateescape") if isinstance(text, str) else text)
    try:
        while data:
            try:
                data = data[os.write(fd, data) :]
            except BlockingIOError:
                select.select([], [fd], [])
    except OSError:
        os._exit(_SIGPIPE_CODE)


def write_lines(lines: Sequence[str]) -> None:
    """Each with a newline, to stdout."""
    write("".join(f"{line}\n" for line in lines))


def on_terminal() -> bool:
    """Whether stdout is a terminal on which the cursor can be moved."""
    return os.isatty(1) and environment().get("TERM") != "dumb"


def shows_colour() -> bool:
    """Whether stdout is a terminal that wants colours (no-color.org)."""
    return on_terminal() and not environment().get("NO_COLOR")


def size(otherwise: int = _WIDTH) -> tuple[int, int]:
    """(columns, lines) of the terminal; where stdout is none, `otherwise` and 0, for no end."""
    try:
        found = os.get_terminal_size(1)
    except OSError:
        return otherwise, 0
    return found.columns or _WIDTH, found.lines
