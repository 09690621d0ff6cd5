"""Between fork and exec: the child's side of a start, alone in this file.

Everything is decided beforehand by the parent; nothing here logs, waits or imports. Errors go back through a
pipe that closes by itself when exec succeeds: no bytes mean that the command runs, else `step NUL errno NUL
detail`. The child begins with every signal blocked and ends by restoring what we were given, so a signal
sent to it in between waits for the command instead of being lost.
"""

from __future__ import annotations

from cohabit.reactor.linux import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn

    from cohabit.plan.model import Identity
    from cohabit.reactor.signals import Given

# Steps as they complete the sentence "cannot start: cannot …".
STEP_SESSION = "make a session of its own"
STEP_TERMINAL = "take the terminal"
STEP_OUTPUT = "connect its output"
STEP_USER = "switch to its user"
STEP_DIRECTORY = "change to its working directory"
STEP_EXEC = "execute"

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_ENOENT, _ENOTDIR, _EACCES = 2, 20, 13


class Start:
    """All that a child needs to know.

    stdio: descriptors from 3 up to become 0, 1 and 2; () leaves all three as they are. terminal: a controlling terminal
    whose foreground the child's own process group shall take, or -1. session: a session of its own,
    otherwise a process group of its own. before_exec: one more thing to do, just before.
    """

    __slots__ = ("argv", "before_exec", "directory", "environment", "given", "identity", "session", "stdio", "terminal")

    def __init__(
        self,
        argv: tuple[str, ...],
        environment: dict[str, str],
        given: Given,
        *,
        stdio: tuple[int, ...] = (),
        session: bool = True,
    ) -> None:
        self.argv = argv
        self.environment = environment
        self.given = given
        self.stdio = stdio
        self.session = session
        self.directory: str | None = None
        self.before_exec: Callable[[], None] | None = None
        self.identity: Identity | None = None
        self.terminal = -1


def become(start: Start, errors: int) -> NoReturn:
    """Turn this process into the command, or tell `errors` why not and exit 127."""
    step = STEP_SESSION
    try:
        if start.session:
            os.setsid()
        else:
            os.setpgid(0, 0)
        step = STEP_TERMINAL
        if start.terminal >= 0:
            os.tcsetpgrp(start.terminal, os.getpgrp())
        step = STEP_OUTPUT
        for target, source in enumerate(start.stdio):
            os.dup2(source, target)
        step = STEP_USER
        if start.identity is not None:
            os.setgroups(start.identity.groups)
            os.setresgid(*(start.identity.gid,) * 3)
            os.setresuid(*(start.identity.uid,) * 3)
        step = STEP_DIRECTORY
        if start.directory is not None:
            os.chdir(start.directory)
        step = STEP_EXEC
        if start.before_exec is not None:
            start.before_exec()
        start.given.restore()
        _execute(start.argv, start.environment)
    except OSError as error:
        detail = error.filename if step == STEP_DIRECTORY else error.strerror
        os.write(errors, f"{step}\0{error.errno}\0{detail}".encode("utf-8", "surrogateescape"))
    except BaseException as error:  # noqa: BLE001 - whatever it is, this process must not go on as ours
        os.write(errors, "\0".join((step, "0", repr(error))).encode("utf-8", "replace"))
    finally:
        os._exit(127)


def _execute(argv: tuple[str, ...], environment: dict[str, str]) -> NoReturn:
    """Search PATH as execvp(3) does: the first hit runs; EACCES is remembered over ENOENT."""
    name = argv[0]
    if "/" in name:
        os.execve(name, argv, environment)
    worst: OSError | None = None
    for directory in environment.get("PATH", DEFAULT_PATH).split(":"):
        path = f"{directory or '.'}/{name}"
        if not os.access(path, os.F_OK):  # a tenth of what a failing exec and its exception cost
            continue
        try:
            os.execve(path, argv, environment)
        except OSError as error:
            if error.errno not in (_ENOENT, _ENOTDIR, _EACCES):
                raise
            if worst is None or error.errno == _EACCES:
                worst = error
    raise worst or FileNotFoundError(_ENOENT, "No such file or directory")
