"""The entry point: from the command line to the command, and from any error to its exit code.

A command's module is loaded only when it is used: `cohabit init -- true` must not pay for the engine.
"""

from __future__ import annotations

import sys

from cohabit import __version__
from cohabit.cli import load
from cohabit.errors import EXIT_BUG, EXIT_SYSTEM, EXIT_USAGE, CohabitError, UsageError
from cohabit.reactor import pid1
from cohabit.reactor.linux import os
from cohabit.reactor.shortage import WHAT_TO_DO, is_shortage, words
from cohabit.reactor.signals import InheritedSignals

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import ModuleType
    from typing import NoReturn

# Groups of commands, with their lines in `cohabit help`. The page of a command is in the module of its name.
GROUPS = {
    "run": {
        "init": "run one command under an init: reap orphans, forward signals",
        "run": "run several commands, or a main command and its helpers",
        "up": "run the services of cohabit.yaml",
        "supervisord": "run the programs of a supervisord.conf",
    },
    "inspect": {
        "ps": "list the services and their states",
        "logs": "show the output of services",
        "attach": "show the output of a service from now on, and pass signals to it",
        "events": "show the events of services and of the container",
        "top": "show the resource usage of services",
        "stats": "show the resource usage of services, in the form of docker stats",
        "why": "explain the state of a service, or of the container",
        "graph": "draw the services and their dependencies",
        "timeline": "draw the start of the container",
        "health": "exit with 0 if services are ready, for HEALTHCHECK and probes",
        "version": "print the version, and that of the running cohabit",
    },
    "control": {
        "start": "start services",
        "stop": "stop services",
        "restart": "stop services and start them again",
        "kill": "kill services, or send them a signal",
        "signal": "send a signal to services",
        "pause": "pause services: all their processes stop running",
        "unpause": "let paused services continue",
        "scale": "set the number of replicas of a service",
        "exec": "run a command with a service's environment and user",
        "wait": "wait until services are ready, or have ended",
        "reload": "read the file again",
        "reexec": "replace the running cohabit by the installed program",
        "down": "stop all services and end the container",
    },
    "files": {
        "check": "report the errors and warnings of the file",
        "config": "print the resolved configuration",
        "convert": "print a supervisord.conf as a cohabit.yaml",
        "doctor": "find faults in this container, or in a Dockerfile",
        "completion": "print a completion script for bash, zsh or fish",
        "help": "print the help of a command",
    },
}
COMMANDS = {name: summary for group in GROUPS.values() for name, summary in group.items()}
RESUME = "cohabit-resume"  # -X option of a re-execution: reactor/reexecution.py
TAKES_OVER = "cohabit-takes-over"  # asked before one


def resumes() -> bool:
    """Whether this is a re-execution, which goes on whatever comes."""
    return bool(pid1.option(RESUME))


def main(mask: Iterable[int] | None = None) -> NoReturn:
    """Do what was typed and end the process, without the interpreter's own clean-up.

    mask: the signals that were blocked when we were started, if all are blocked since.
    """
    given = InheritedSignals.at_start(mask)
    try:
        result = _dispatch(given, sys.argv[1:])
        former: list[dict[str, ModuleType]] = []  # to the end of this process: upgrade.py
        while isinstance(result, bytes):
            result = load("cohabit.cli.upgrade").go_on(result, former)
        code = result
    except CohabitError as error:
        _write(2, f"cohabit: {error}\n")
        code = error.exit_code
    except ImportError as error:  # a library that could not be mapped, a folder that could not be read
        _write(2, f"cohabit: cannot read its own modules: {error} (is there no memory, or are files missing?)\n")
        code = EXIT_SYSTEM
    except (OSError, MemoryError) as error:
        if not is_shortage(error):
            sys.__excepthook__(type(error), error, error.__traceback__)
        else:
            _write(2, f"cohabit: the machine has no room: {words(error)} ({WHAT_TO_DO})\n")
        code = EXIT_SYSTEM if is_shortage(error) else EXIT_BUG
    except Exception as error:  # noqa: BLE001 - a bug of ours has a code of its own
        sys.__excepthook__(type(error), error, error.__traceback__)
        code = EXIT_BUG
    os._exit(code)


def _dispatch(given: InheritedSignals, argv: list[str]) -> int | bytes:
    """The exit code; or what process 1 hands to the program that is installed now."""
    if state := pid1.option(RESUME):
        resume: Callable[[InheritedSignals, int], int | bytes] = load("cohabit.cli.supervise").resume
        return resume(given, int(state))
    if version := pid1.option(TAKES_OVER):
        return int(load("cohabit.cli.supervise").takes_over(version))
    if argv[:1] and argv[0].startswith("-") and argv[0] not in ("-h", "--help", "--version", "-V"):
        argv = load("cohabit.cli.compose").options_after(argv)
    name = argv[0] if argv else ""
    if name in COMMANDS:
        command: Callable[[InheritedSignals, list[str]], int | bytes] = load(f"cohabit.cli.{name}").main
        return command(given, argv[1:])
    if name in ("", "-h", "--help"):
        _write(1 if name else 2, load("cohabit.cli.help").overview() + "\n")
        return 0 if name else EXIT_USAGE
    if name in ("--version", "-V"):
        _write(1, f"cohabit {__version__}\n")
        return 0
    hint = load("cohabit.cli.compose").command_hint(name, argv[1:])
    if not hint:
        near = load("cohabit.nearest").nearest(name, COMMANDS)
        beside = f"beside the services: docker run -it IMAGE up -- {name}; alone: docker run --entrypoint {name} IMAGE"
        usual = beside if pid1.is_process_1() else "to run a command: cohabit init -- COMMAND"
        hint = f"did you mean {near!r}?" if near else f"{usual}; see cohabit --help"
    raise UsageError(f"there is no command {name!r} ({hint})")


def _write(fd: int, text: str) -> None:
    try:
        os.write(fd, text.encode("utf-8", "surrogateescape"))
    except OSError:
        return  # the reader has gone
