"""The front door: from the words typed to the verb that does them, and from any error to its exit code.

Each verb is loaded only when it is asked for: `cohabit init -- true` must not pay for the engine.
"""

from __future__ import annotations

import sys

from cohabit import __version__
from cohabit.cli import load
from cohabit.errors import EXIT_BUG, EXIT_USAGE, CohabitError, UsageError
from cohabit.reactor import pid1
from cohabit.reactor.linux import os
from cohabit.reactor.signals import Given

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

# verb -> (module, what --help says of it)
VERBS = {
    "init": ("cohabit.cli.init", "run one command under an init: reap, forward signals, end what is left"),
    "run": ("cohabit.cli.run", "run several commands, or one main command and its helpers"),
    "up": ("cohabit.cli.up", "run the services of cohabit.yaml"),
    "check": ("cohabit.cli.check", "report everything that is wrong with the file"),
    "config": ("cohabit.cli.config", "print what was understood of the file"),
    "reload": ("cohabit.cli.reload", "have the running cohabit read its file again"),
    "reexec": ("cohabit.cli.reexec", "replace the running cohabit's program in place"),
}
RESUME = "cohabit-resume"  # -X option of a re-execution: reactor/handover.py
TAKES_OVER = "cohabit-takes-over"  # asked before one


def main() -> NoReturn:
    """Do what was typed and end the process, without the interpreter's own clean-up."""
    given = Given.at_start()
    try:
        code = _dispatch(given, sys.argv[1:])
    except CohabitError as error:
        _write(2, f"cohabit: {error}\n")
        code = error.exit_code
    except Exception as error:  # noqa: BLE001 - a bug of ours has a code of its own
        sys.__excepthook__(type(error), error, error.__traceback__)
        code = EXIT_BUG
    os._exit(code)


def _dispatch(given: Given, words: list[str]) -> int:
    if state := pid1.option(RESUME):
        return int(load("cohabit.cli.up").resume(given, int(state)))
    if version := pid1.option(TAKES_OVER):
        return int(load("cohabit.cli.up").takes_over(int(version)))
    verb = words[0] if words else ""
    if verb in VERBS:
        return int(load(VERBS[verb][0]).main(given, words[1:]))
    if verb == "help" and words[1:2] and words[1] in VERBS:
        return int(load(VERBS[words[1]][0]).main(given, ["--help"]))
    if verb in ("-h", "--help", "help", ""):
        _write(1 if words else 2, _help())
        return 0 if words else EXIT_USAGE
    if verb in ("--version", "-V", "version"):
        _write(1, f"cohabit {__version__}\n")
        return 0
    near = [known for known in VERBS if known[:2] == verb[:2]]
    hint = f"did you mean {near[0]!r}?" if near else "to run a command: cohabit init -- COMMAND; see cohabit --help"
    raise UsageError(f"cannot {verb}: there is no such verb ({hint})")


def _help() -> str:
    lines = ["usage: cohabit VERB [options]", "", "Several services in one container.", "", "verbs:"]
    lines += [f"  {verb:10}{summary}" for verb, (_, summary) in VERBS.items()]
    lines += ["", "`cohabit VERB --help` tells more. Documentation: docs/ in the source distribution."]
    return "\n".join(lines) + "\n"


def _write(fd: int, text: str) -> None:
    try:
        os.write(fd, text.encode("utf-8", "surrogateescape"))
    except OSError:
        return  # nobody listens any more
