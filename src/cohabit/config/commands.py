"""The command line of `cohabit run` -> Draft: each string one shell command, one of them perhaps main.

Without main every command is essential: any end is the end. With main the container lives as long as main
does; helpers start once it is started (or ready), other commands start beside it, and both may end as they
like. Knows no file; shell.py reads the strings.
"""

from __future__ import annotations

import os
import re
from importlib import import_module
from typing import TYPE_CHECKING, Any

from cohabit.config.values.address import http_probe, tcp_probe
from cohabit.config.values.shell import Command, parse
from cohabit.errors import EXIT_USAGE
from cohabit.plan.draft import Diagnostic, Draft, DraftService, SourceLocation
from cohabit.plan.model import HEALTHY, STARTED, Dependency, Logging, Probe, Service

if TYPE_CHECKING:
    from collections.abc import Mapping

_WHERE = SourceLocation("cohabit run")
_LOGGING = "cohabit.config.typed_logging"
_RESERVED = "cohabit"  # our own lines in the output carry this name
# name=command. A name has a small letter: PORT=80 ./server is a command with an assignment, as in a shell.
_NAMED = re.compile(r"\s*(?=[A-Z0-9._-]*[a-z])([a-zA-Z0-9._-]+)=", re.ASCII)
_NO_NAME = re.compile(r"[^a-zA-Z0-9._-]+", re.ASCII)


class _Typed:
    """One command as it was typed. option: "--main", "--helper" or "" ."""

    def __init__(self, option: str, text: str) -> None:
        found = _NAMED.match(text)
        self.option = option
        self.text = text
        self.name = found[1] if found else ""
        self.command: Command | None = None
        self.problem = ""
        try:
            self.command = parse(text[found.end() :] if found else text)
        except ValueError as error:
            self.problem = str(error)


def read(request: Mapping[str, Any], environ: Mapping[str, str]) -> Draft:
    """The Draft of what was typed; what is wrong with it is a usage problem."""
    main, ready = request.get("main"), request.get("ready")
    typed = [_Typed("--main", main)] if main is not None else []
    typed += [_Typed("--helper", text) for text in request.get("helpers") or ()]
    typed += [_Typed("", text) for text in request.get("commands") or ()]
    problems = [*_misused(request, typed), *_unreadable(typed)]
    probe = None
    if ready is not None:
        try:
            probe = _probe(ready)
        except ValueError as error:
            hint = "" if str(error).endswith(")") else " (write tcp:PORT, tcp:HOST:PORT or http://HOST:PORT/path)"
            problems.append(f"--ready {ready!r}: {error}{hint}")
    _give_names(typed)
    logging, pattern = (Logging(),), ""
    if request.get("log_driver") is not None or request.get("log_opts"):  # by name: most need none of its libraries
        read_logging = import_module(_LOGGING).read_logging
        logging, pattern, wrong = read_logging(request.get("log_driver"), request.get("log_opts") or (), environ)
        problems += wrong
    services = [service.replace(logging=logging, multiline_pattern=pattern) for service in _services(typed, probe)]
    return Draft(
        _WHERE,
        {service.name: DraftService(service, _WHERE, essential=service.essential) for service in services},
        logging=logging,
        problems=tuple(Diagnostic(_WHERE, text, exit_code=EXIT_USAGE) for text in problems),
    )


def _misused(request: Mapping[str, Any], typed: list[_Typed]) -> list[str]:
    """Options that make no sense together."""
    problems = []
    if request.get("main") is None:
        without = [option for option, key in (("--helper", "helpers"), ("--ready", "ready")) if request.get(key)]
        problems = [f"{option} needs --main (write --main COMMAND, too)" for option in without]
    if not typed:
        problems.append("nothing to run (write each command as one string: cohabit run 'COMMAND' 'COMMAND')")
    names = [one.name for one in typed if one.name]
    problems += [
        f"two commands are named {name} (rename one)" for name in dict.fromkeys(names) if names.count(name) > 1
    ]
    if _RESERVED in names:
        problems.append(f"no command can be named {_RESERVED}: our own messages are (choose another name)")
    problems += [f"no command can be named {name!r} (it needs a letter)" for name in names if not _has_letter(name)]
    return problems


def _unreadable(typed: list[_Typed]) -> list[str]:
    return [
        f"cannot read {' '.join(filter(None, (one.option, repr(one.text))))}: {one.problem}"
        for one in typed
        if one.problem
    ]


def _has_letter(name: str) -> bool:
    return any(letter.isalnum() for letter in name)


def _give_names(typed: list[_Typed]) -> None:
    """Each command without a name gets its program's; the second of a kind is -2, the third -3."""
    taken = {_RESERVED, *(one.name for one in typed)}
    for one in typed:
        if not one.name:
            program = os.path.basename(one.command.program) if one.command else ""
            stem = _NO_NAME.sub("-", program).strip("-.") or "command"
            numbered = (stem if number == 1 else f"{stem}-{number}" for number in range(1, len(taken) + 2))
            one.name = next(name for name in numbered if name not in taken)
            taken.add(one.name)


def _services(typed: list[_Typed], probe: Probe | None) -> list[Service]:
    """The services, main's dependants waiting for it."""
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
    """Probe of --ready; ValueError if it is none."""
    kind, colon, address = text.partition(":")
    if kind == "tcp" and colon:
        return tcp_probe(address)
    if kind in ("http", "https"):
        return http_probe(text)
    raise ValueError("no such kind of probe")
