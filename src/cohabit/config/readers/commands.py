"""The command line of `cohabit run` -> Draft: each string is one shell command; --main marks the main one.

Without --main every command is essential: the container stops when any of them ends. With --main only that command
is essential. Helpers start when it has started (with --ready: when it is ready). The other commands start at the same
time as it. shell.py parses the strings.
"""

from __future__ import annotations

import os
import re
from importlib import import_module
from typing import TYPE_CHECKING, Any

from cohabit.config.values.address import http_probe, tcp_probe
from cohabit.config.values.service_name import free_name
from cohabit.config.values.shell import Command, parse
from cohabit.errors import EXIT_USAGE
from cohabit.plan.draft import Diagnostic, Draft, DraftService, SourceLocation
from cohabit.plan.model import HEALTHY, OWN_NAME, STARTED, Dependency, Logging, Probe, Service

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cohabit.config.readers.find import Source

_WHERE = SourceLocation("cohabit run")
_LOGGING = "cohabit.config.readers.typed_logging"
# name=command. A name contains a lowercase letter: PORT=80 ./server is a command with an assignment, as in a shell.
_NAMED = re.compile(r"\s*(?=[A-Z0-9._-]*[a-z])([a-zA-Z0-9._-]+)=", re.ASCII)
# Programs that start the daemon of an init script: `service NAME start`.
_INIT_COMMANDS = frozenset({"service", "rc-service", "invoke-rc.d"})


class _TypedCommand:
    """One command of the command line. option: "--main", "--helper" or ""; error: why it cannot be parsed."""

    def __init__(self, option: str, text: str) -> None:
        found = _NAMED.match(text)
        self.option = option
        self.text = text
        self.name = found[1] if found else ""
        self.command: Command | None = None
        self.error = ""
        try:
            self.command = parse(text[found.end() :] if found else text)
        except ValueError as error:
            self.error = str(error)


def read(source: Source, environ: Mapping[str, str]) -> Draft:
    """The Draft of the command line. Its diagnostics have the exit code for wrong usage."""
    request = source.arguments
    main, ready = request.get("main"), request.get("ready")
    typed = [_TypedCommand("--main", main)] if main is not None else []
    typed += [_TypedCommand("--helper", text) for text in request.get("helpers") or ()]
    typed += [_TypedCommand("", text) for text in request.get("commands") or ()]
    diagnostics = [*_misused(request, typed), *_unreadable(typed)]
    probe = None
    if ready is not None:
        try:
            probe = _probe(ready)
        except ValueError as error:
            hint = "" if str(error).endswith(")") else " (write tcp:PORT, tcp:HOST:PORT or http://HOST:PORT/path)"
            diagnostics.append(f"--ready {ready!r}: {error}{hint}")
    _give_names(typed)
    logging, pattern = (Logging(),), ""
    if request.get("log_driver") is not None or request.get("log_opts"):  # imported on use: it needs the tables of keys
        read_logging = import_module(_LOGGING).read_logging
        logging, pattern, errors = read_logging(request.get("log_driver"), request.get("log_opts") or (), environ)
        diagnostics += errors
    services = [service.replace(logging=logging, multiline_pattern=pattern) for service in _services(typed, probe)]
    return Draft(
        _WHERE,
        {service.name: DraftService(service, _WHERE, essential=service.essential) for service in services},
        logging=logging,
        main=services[0].name if main is not None or len(services) == 1 else "",
        reloads=False,
        problems=tuple(Diagnostic(_WHERE, text, exit_code=EXIT_USAGE) for text in diagnostics),
    )


def _misused(request: Mapping[str, Any], typed: list[_TypedCommand]) -> list[str]:
    """Diagnostics for invalid combinations of options and for invalid names."""
    diagnostics = []
    if request.get("main") is None:
        without = [option for option, key in (("--helper", "helpers"), ("--ready", "ready")) if request.get(key)]
        diagnostics = [f"{option} needs --main (add --main COMMAND)" for option in without]
    if not typed:
        diagnostics.append("nothing to run (write each command as one string: cohabit run 'COMMAND' 'COMMAND')")
    names = [one.name for one in typed if one.name]
    diagnostics += [
        f"two commands are named {name} (rename one)" for name in dict.fromkeys(names) if names.count(name) > 1
    ]
    if OWN_NAME in names:
        diagnostics.append(
            f"no command can be named {OWN_NAME}: the name is reserved for cohabit's own messages (choose another)"
        )
    diagnostics += [
        f"{name!r} is not a valid name for a command (it needs a letter or a digit)"
        for name in names
        if not _has_letter(name)
    ]
    return diagnostics


def _unreadable(typed: list[_TypedCommand]) -> list[str]:
    return [
        f"cannot read {' '.join(filter(None, (one.option, repr(one.text))))}: {one.error}" for one in typed if one.error
    ]


def _has_letter(name: str) -> bool:
    return any(letter.isalnum() for letter in name)


def _give_names(typed: list[_TypedCommand]) -> None:
    """Name each unnamed command after what it runs; a second one of the same name gets -2, a third -3."""
    taken = {one.name for one in typed}
    for one in typed:
        if not one.name:
            one.name = free_name(_what_runs(one.command, one.text) if one.command else "", taken)
            taken.add(one.name)


def _what_runs(command: Command, text: str) -> str:
    """The program of a command, or the daemon that `service NAME start` starts."""
    words = text.split()
    if os.path.basename(command.program) in _INIT_COMMANDS and command.program in words:
        after = words[words.index(command.program) + 1 :]
        if after[1:2] in (["start"], ["restart"]):
            return after[0]
    return command.program


def _services(typed: list[_TypedCommand], probe: Probe | None) -> list[Service]:
    """The services. Helpers depend on main: on its start, or on its health if there is a probe."""
    main = typed[0].name if typed and typed[0].option == "--main" else None
    condition = HEALTHY if probe else STARTED
    return [
        Service(
            name=one.name,
            command=one.command.argv if one.command else ("?",),
            depends_on=(Dependency(main, condition),) if main and one.option == "--helper" else (),
            essential=main is None or one.name == main,
            probe=probe if one.option == "--main" else None,
        )
        for one in typed
    ]


def _probe(text: str) -> Probe:
    """Probe of --ready. Raises ValueError for any other text."""
    kind, colon, address = text.partition(":")
    if kind == "tcp" and colon:
        return tcp_probe(address)
    if kind in ("http", "https"):
        return http_probe(text)
    raise ValueError("unknown kind of probe")
