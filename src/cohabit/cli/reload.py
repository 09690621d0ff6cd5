"""`cohabit reload`: ask the running cohabit to read its file again. A signal does it, so this works with any image."""

from __future__ import annotations

from cohabit.cli.options import Verb
from cohabit.errors import EXIT_SYSTEM, CohabitError
from cohabit.reactor import signals
from cohabit.reactor.linux import environment, os
from cohabit.reactor.processes import proc
from cohabit.reactor.processes.tree import MARK_SUPERVISOR

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cohabit.reactor.signals import Given

VERB = Verb(
    "reload",
    "",
    "Have the file read again: what changed is restarted, what is new started, what is gone stopped.",
    (),
    details=(
        "The outcome is in the container's log; a file with mistakes changes nothing. The same as SIGHUP to the\n"
        "running cohabit (docker kill -s HUP CONTAINER)."
    ),
)
_OURS = b"cohabit/__main__.py"
_RUNNING = (b"up", b"run")


class NotRunningError(CohabitError):
    """There is no cohabit to talk to."""

    exit_code = EXIT_SYSTEM


def main(_given: Given, words: list[str]) -> int:
    """Parse, signal, return the exit code."""
    return signal_supervisor(VERB, signals.HUP, words)


def signal_supervisor(verb: Verb, number: int, words: list[str]) -> int:
    """Send the running cohabit a signal: whoever started us, if it was one, else process 1."""
    values, _ = verb.parse(words)
    if values["help"]:
        return verb.show_help()
    supervisor = environment().get(MARK_SUPERVISOR, "").partition("-")[0]
    for pid in (int(supervisor) if supervisor.isdecimal() else 1, 1):
        if _is_cohabit(pid):
            try:
                os.kill(pid, number)
            except OSError as error:
                raise NotRunningError(
                    f"cannot {verb.name}: process {pid} may not be signalled: {error.strerror} (become its user)"
                ) from error
            return 0
    hint = "kill -HUP PID" if number == signals.HUP else f"kill -{number} PID"
    raise NotRunningError(
        f"cannot {verb.name}: process 1 is not `cohabit up` or `cohabit run` (in this container? else: {hint})"
    )


def _is_cohabit(pid: int) -> bool:
    words = proc.command_line(pid)
    program = next((i for i, word in enumerate(words) if word.endswith(_OURS)), None)
    return program is not None and words[program + 1 : program + 2] != [] and words[program + 1] in _RUNNING
