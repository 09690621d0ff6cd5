"""Check the services of a file for problems that `cohabit check` does not report. Pure.

The checks: stop signals, daemons, commands that require a shell, dependencies without health check, ends without
effect, grace periods. known.py has the tables of programs.
"""

from __future__ import annotations

import json
import re
from itertools import pairwise
from typing import TYPE_CHECKING, TypeAlias

from cohabit.doctor import known
from cohabit.doctor.findings import ERROR, HINT, WARNING, Finding
from cohabit.doctor.shellwords import commands, needs_shell
from cohabit.plan.draft import SourceLocation
from cohabit.plan.model import SIGTERM, STARTED
from cohabit.plan.order import topological
from cohabit.plan.record import Record
from cohabit.units import format_duration

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from cohabit.plan.model import Service

FindingFields: TypeAlias = tuple[str, str, str, str, str]  # level, key of the service, what, why, do
_SAME = {"postmaster": "postgres", "uwsgi-core": "uwsgi"}
_VERSION = re.compile(r"-?[0-9][0-9.]*$")
_ENTRYPOINTS = re.compile(r"(?:.*/)?(?:docker-|docker-php-)?entrypoint(?:\.sh)?")


class WrittenService(Record):
    """A service and its place in the file.

    place: of a key, or of the service if the key is absent. keys: those that are present.
    strings: the commands that are written as a string, as (key, place, text), with `$$` as `$`.
    """

    service: Service
    place: Callable[[str], SourceLocation]
    keys: frozenset[str] = frozenset()
    strings: tuple[tuple[str, SourceLocation, str], ...] = ()


def examine(services: Mapping[str, WrittenService], total_seconds: float, file: str) -> list[Finding]:
    """Return the findings; `file` is its name in places."""
    findings: list[Finding] = []
    for name, item in services.items():
        for rule, check in CHECKS:
            findings += [
                Finding(rule, level, item.place(key), what, why, do, name) for level, key, what, why, do in check(item)
            ]
        findings += _shell_strings(name, item)
        findings += _waits_too_early(name, item, services)
    return [*findings, *_long_chain(services, total_seconds, SourceLocation(file))]


def program(argv: Sequence[str]) -> tuple[str, tuple[str, ...]]:
    """Return the program that a command finally runs: its name without directory, and its arguments.

    Wrappers that exec another program, entrypoints of images, and `sh -c` with a single command are skipped.
    """
    left = list(argv)
    for _ in range(len(left) + 1):
        name = left[0].rpartition("/")[2] if left else ""
        if name in known.SWITCHES_USER and len(left) > 2:  # noqa: PLR2004 - gosu USER COMMAND
            left = left[2:]
        elif (name in known.EXEC_WRAPPERS or _ENTRYPOINTS.fullmatch(left[0] if left else "")) and len(left) > 1:
            left = left[1:]
            while len(left) > 1 and (left[0].startswith("-") or "=" in left[0]):
                left = left[1:]
        elif name in known.SHELLS and len(left) == 3 and left[1] == "-c" and (inner := _one_command(left[2])):  # noqa: PLR2004
            left = inner
        else:
            break
    return (left[0].rpartition("/")[2], tuple(left[1:])) if left else ("", ())


def _one_command(text: str) -> list[str]:
    parsed = commands(text)
    return list(parsed[0].argv) if len(parsed) == 1 and not parsed[0].operator else []


def known_name(name: str) -> str:
    """Return the name of a program in known.py: php-fpm8.2 is php-fpm, postmaster is postgres."""
    if name in known.DAEMONS:
        return name
    plain = _VERSION.sub("", name)
    return _SAME.get(name) or (plain if plain in known.DAEMONS else name)


# --- single services --------------------------------------------------------------------------------------


def _stop(item: WrittenService) -> Iterator[FindingFields]:
    """The default TERM does not stop it gracefully."""
    service = item.service
    name, arguments = program(service.command)
    row = known.STOPS.get(known_name(name))
    if row is None or service.job or service.stop_signal != SIGTERM or "stop_signal" in item.keys:
        return
    if row.unless and any(row.unless in argument for argument in arguments):
        return
    level = row.level
    if row.unless and any(argument.endswith((".ini", ".yaml", ".yml", ".xml", ".json")) for argument in arguments):
        level = HINT  # the configuration file may set it
    yield (
        level,
        "command",
        f"{name} is stopped with SIGTERM",
        f"SIGTERM is {row.term_effect}",
        f"stop_signal: {row.signal}",
    )


def _daemon(item: WrittenService) -> Iterator[FindingFields]:
    """It daemonizes, and has no pid_file."""
    service = item.service
    name, arguments = program(service.command)
    if service.pid_file or service.job:
        return
    if name in known.RESTARTING_WRAPPERS:
        why = "it restarts the server itself and hides its exit code from cohabit"
        yield WARNING, "command", f"{name} is itself a supervisor", why, f"command: {known.RESTARTING_WRAPPERS[name]}"
        return
    row = known.DAEMONS.get(known_name(name))
    if row is None or not daemonizes(row, arguments):
        return
    certain = row.certain or name != known_name(name)
    if any(
        argument in row.config_flags or argument.startswith(tuple(f"{one}=" for one in row.config_flags))
        for argument in arguments
    ):
        certain = False
    what = f"{name} daemonizes" + ("" if certain else ", unless its configuration says otherwise")
    why = "its main process ends at once: exit code and output may be lost"
    level = WARNING if certain else HINT
    do = f"run {row.foreground_command}, or set pid_file:"
    yield level, "command", what, why, do


def daemonizes(row: known.Daemon, arguments: Sequence[str]) -> bool:
    """Whether a program with this row daemonizes with these arguments."""
    if row.background_flags and not any(_has_flag(flag, arguments, joined=False) for flag in row.background_flags):
        return False
    return not any(_has_flag(flag, arguments, joined=row.joined) for flag in row.foreground_flags)


def _has_flag(flag: str, arguments: Sequence[str], *, joined: bool) -> bool:
    """Whether a flag of known.Daemon is among the arguments."""
    if flag.endswith("…"):
        return any(flag[:-1] in argument for argument in arguments)
    if " " in flag:
        first, second = flag.split()
        pairs = pairwise(arguments)
        return (first, second) in pairs or f"{first}={second}" in arguments
    if joined and len(flag) == 2 and flag[0] == "-":  # noqa: PLR2004 - -f
        return any(re.match(rf"-[A-Za-z]*{flag[1]}", argument) for argument in arguments)
    return flag in arguments


def _end_ignored(item: WrittenService) -> Iterator[FindingFields]:
    service = item.service
    if not service.essential and service.restart.condition == "no" and not service.job and "essential" in item.keys:
        why = "with restart: no and essential: false the container continues without it"
        yield (
            HINT,
            "essential",
            "its end has no effect",
            why,
            "restart: on-failure, or remove essential: false",
        )


def _stale_file(item: WrittenService) -> Iterator[FindingFields]:
    """It refuses to start a second time if the file of its last run is still there (`docker restart`)."""
    name, arguments = program(item.service.command)
    path = known.PID_FILES.get(name, "")
    if not path or {"remove_before_start", "pre_start"} & item.keys:
        return
    display = next((one[1:] for one in arguments if re.fullmatch(r":\d+", one)), "0")
    yield (
        HINT,
        "command",
        f"{name} may refuse to start after `docker restart`",
        "the file of its last run is still there, and its pid may be in use again",
        f"remove_before_start: [{path.format(display=display)}]",
    )


CHECKS = (
    ("service-stop-signal", _stop),
    ("service-daemonizes", _daemon),
    ("service-end-ignored", _end_ignored),
    ("service-stale-file", _stale_file),
)


# --- commands as strings ----------------------------------------------------------------------------------


def _shell_strings(name: str, item: WrittenService) -> Iterator[Finding]:
    for key, place, text in item.strings:
        what, certain = needs_shell(text.replace("\n", " ").strip())
        if what:
            shown = f"{key}: {what!r} requires a shell"
            why = "the string is split into arguments and executed without a shell"
            script = json.dumps(text.strip(), ensure_ascii=False).replace("$", "$$")
            yield Finding(
                "service-needs-shell",
                ERROR if certain else HINT,
                place,
                shown,
                why,
                f'{key}: ["sh", "-c", {script}]',
                name,
            )


# --- services together ------------------------------------------------------------------------------------


def _waits_too_early(name: str, item: WrittenService, services: Mapping[str, WrittenService]) -> Iterator[Finding]:
    """It waits only for the start of a slow server without health check."""
    for dependency in item.service.depends_on:
        other = services.get(dependency.service)
        if other is None or dependency.condition != STARTED or other.service.probe or other.service.job:
            continue
        server, arguments = program(other.service.command)
        row = known.SLOW.get(known_name(server))
        if row is None:
            continue
        why = f"{server} needs time until it accepts connections; {name} must retry until then"
        test = row.test.replace("{port}", str(_port(row, arguments)))
        do = f"{dependency.service}: healthcheck: {{test: {test}}}, and condition: service_healthy here"
        what = f"waits for the start of {dependency.service}, not until it is ready"
        yield Finding(
            "service-waits-too-early", HINT, item.place(f"depends_on.{dependency.service}"), what, why, do, name
        )


def _port(row: known.Slow, arguments: Sequence[str]) -> int | str:
    for at, argument in enumerate(arguments):
        flag, _, value = argument.partition("=")
        if flag in row.flags:
            port = value or (arguments[at + 1] if at + 1 < len(arguments) else "")
            return port if port.isdecimal() else "PORT"
    return row.port


def longest_chain(services: Mapping[str, WrittenService]) -> tuple[float, tuple[str, ...]]:
    """Return the longest stop by the grace periods in the file, in seconds, and its chain of services."""
    graph = {
        name: [d.service for d in item.service.depends_on if d.service in services] for name, item in services.items()
    }
    best: dict[str, tuple[float, tuple[str, ...]]] = {}
    for name in topological(graph):
        item = services[name]
        own = item.service.stop_grace_seconds if "stop_grace_period" in item.keys else 0.0
        below = max((best[other] for other in graph[name] if other in best), default=(0.0, ()))
        best[name] = (below[0] + own, (name, *below[1]) if own else below[1])
    return max(best.values(), default=(0.0, ()))


def _long_chain(
    services: Mapping[str, WrittenService], total_seconds: float, place: SourceLocation
) -> Iterator[Finding]:
    """The grace periods of a chain exceed the total together. `check` reports a single one that exceeds it."""
    seconds, names = longest_chain(services)
    if seconds <= total_seconds or any(services[name].service.stop_grace_seconds > total_seconds for name in names):
        return
    what = f"{', '.join(names)} are stopped one after another and may take {format_duration(seconds)}"
    why = f"the total is {format_duration(total_seconds)}: services that are stopped later are killed"
    do = f"x-cohabit: {{stop_grace_period: {format_duration(seconds)}}} (and a longer grace period of the platform)"
    yield Finding("stop-too-long", WARNING, place, what, why, do)
