"""The pid file of the daemon that an init script starts, for commands such as `service redis-server start`.

The script is read as text and never executed. A path counts only if it is plain: an assignment (`PIDFILE=`), the
argument of `--pidfile`, or the header `# pidfile:`; with variables only from other plain assignments. If the script
names several pid files, none is taken. It must be a file that only root can change. The path is a hint, no more: which
process it names is verified as for `pid_file` (reactor/processes/daemon.py).
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from cohabit import paths
from cohabit.lazy_pattern import lazy_pattern

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cohabit.plan.model import Plan

_SCRIPT = lazy_pattern(r"/etc/(?:rc\.d/)?init\.d/([\w@.+-]+)")
_NAME = lazy_pattern(r"[\w@+][\w@.+-]*")
_STARTERS = frozenset({"service", "rc-service", "invoke-rc.d"})
_STARTS = frozenset({"start", "restart"})
_SIZE_MAX = 65_536
_ASSIGNMENT = lazy_pattern(r"\s*(?:export\s+|readonly\s+)?([A-Za-z_]\w*)=(.*)", re.ASCII)
_VALUE = lazy_pattern(r"""("[^"\\`]*"|'[^'$]*'|[^\s"'\\`;&|<>()]*)\s*(?:;\s*)?(?:#.*)?""")
_VARIABLE = lazy_pattern(r"\$(?:\{(\w+)\}|(\w+))", re.ASCII)
_HOLDS_PATH = lazy_pattern(r"(?i)pid_?file")
_OPTION = lazy_pattern(r"""(?:^|\s)--pidfile[ =]\s*("[^"\\`]*"|'[^'$]*'|[^\s"'\\`;&|<>()]+)""")
_HEADER = lazy_pattern(r"#\s*pidfile:\s*(\S+)\s*")
_PATH = lazy_pattern(r"/[\w@.+/-]+", re.ASCII)


def with_pid_files(plan: Plan) -> Plan:
    """The plan, in which services that run an init script have its pid file, unless they name one or are jobs."""
    found = {
        name: path
        for name, service in plan.services.items()
        if not (service.pid_file or service.job) and (path := _pid_file_of(service.command))
    }
    services = {name: each.replace(pid_file=found.get(name, each.pid_file)) for name, each in plan.services.items()}
    return plan.replace(services=services) if found else plan


def _pid_file_of(command: tuple[str, ...]) -> str:
    script = _script_of(command)
    if not script:
        return ""
    try:
        fd, trusted = paths.open_to_read(script)
    except OSError:  # its start reports that
        return ""
    with open(fd, encoding="utf-8", errors="replace") as file:
        text = file.read(_SIZE_MAX + 1)
    return pid_file_in(text, os.path.basename(script)) if trusted and len(text) <= _SIZE_MAX else ""


def _script_of(command: tuple[str, ...]) -> str:
    """The init script that a command starts; "" for other commands."""
    if len(command) == 2 and command[1] in _STARTS and _SCRIPT.fullmatch(command[0]):  # noqa: PLR2004
        return command[0]
    if len(command) == 3 and os.path.basename(command[0]) in _STARTERS and command[2] in _STARTS:  # noqa: PLR2004
        return f"/etc/init.d/{command[1]}" if _NAME.fullmatch(command[1]) else ""
    return ""


def pid_file_in(text: str, name: str) -> str:
    """The pid file that the text of an init script names, "" if there is none or more than one. name: of the script."""
    found = set(_candidates(text, name))
    return found.pop() if len(found) == 1 else ""


def _candidates(text: str, name: str) -> Iterator[str]:
    variables: dict[str, str | None] = {"RC_SVCNAME": name}  # of openrc-run(8); None: not a plain value, or several
    lines = re.sub(r"\\\n", " ", text).splitlines()
    for line in lines:
        assignment = _ASSIGNMENT.match(line)
        if assignment:
            variable, written = assignment.groups()
            plain = _VALUE.fullmatch(written)
            value = _expanded(plain[1], variables) if plain else None
            variables[variable] = value if variables.get(variable, value) == value else None
    yield from (
        value for variable, value in variables.items() if _HOLDS_PATH.search(variable) and value and _is_path(value)
    )
    for line in lines:
        header = _HEADER.fullmatch(line)
        if header and _is_path(header[1]):
            yield header[1]
        for written in _OPTION.findall("" if line.lstrip().startswith("#") else line):
            value = _expanded(written, variables)
            if value and _is_path(value):
                yield value


def _expanded(written: str, variables: dict[str, str | None]) -> str | None:
    """A plain value without its quotes, and with the values of its variables; None if one of them is not known."""
    quoted = written[:1] in ("'", '"')
    value = written[1:-1] if quoted else written
    if written.startswith("'"):
        return value
    known = [variables.get(one or other) for one, other in _VARIABLE.findall(value)]
    if None in known:
        return None
    expanded = _VARIABLE.sub(lambda match: variables[match[1] or match[2]] or "", value)
    return None if "$" in expanded else expanded


def _is_path(value: str) -> bool:
    return bool(_PATH.fullmatch(value)) and "/../" not in value
