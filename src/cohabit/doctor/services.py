"""What is wrong with the services of a file, as far as `cohabit check` does not tell already. Pure.

How programs want to be stopped, which of them go into the background, what only a shell would understand, who is waited
for too early, whose end nobody would notice. What is known of programs is in known.py.
"""

from __future__ import annotations

import json
import re
from itertools import pairwise
from typing import TYPE_CHECKING, TypeAlias

from cohabit.doctor import known
from cohabit.doctor.findings import ERROR, HINT, WARNING, Finding
from cohabit.doctor.shellwords import commands, needs_shell
from cohabit.plan.model import SIGTERM, STARTED
from cohabit.plan.order import topological
from cohabit.plan.record import Record
from cohabit.units import format_duration

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from cohabit.plan.model import Service

Verdict: TypeAlias = tuple[str, str, str, str, str]  # level, key of the service, what, why, do
_SAME = {"postmaster": "postgres", "uwsgi-core": "uwsgi"}
_VERSION = re.compile(r"-?[0-9][0-9.]*$")
_ENTRYPOINTS = re.compile(r"(?:.*/)?(?:docker-|docker-php-)?entrypoint(?:\.sh)?")
_SWITCHES_USER = frozenset({"gosu", "su-exec", "setuidgid", "s6-setuidgid", "chpst"})


class Written(Record):
    """A service and where it stands in the file.

    place: of a key, or of the service where the key was not written: "cohabit.yaml:7". keys: those that were written.
    strings: the commands that were written as one string, as (key, place, text), with `$$` as a `$`.
    """

    service: Service
    place: Callable[[str], str]
    keys: frozenset[str] = frozenset()
    strings: tuple[tuple[str, str, str], ...] = ()


def examine(written: Mapping[str, Written], total_seconds: float, place: str) -> list[Finding]:
    """Everything that is wrong; `place` is that of the whole file."""
    found: list[Finding] = []
    for name, item in written.items():
        for check in _CHECKS:
            found += [Finding(level, item.place(key), what, why, do, name) for level, key, what, why, do in check(item)]
        found += _shell_strings(name, item)
        found += _early(name, item, written)
    return [*found, *_long_chain(written, total_seconds, place)]


def program(words: Sequence[str]) -> tuple[str, tuple[str, ...]]:
    """What a command really runs: the program's name without path, and its arguments.

    Programs that only become another one, the entrypoints of images, and `sh -c` with one command are looked through.
    """
    left = list(words)
    for _ in range(len(left) + 1):
        name = left[0].rpartition("/")[2] if left else ""
        if name in _SWITCHES_USER and len(left) > 2:  # noqa: PLR2004 - gosu USER COMMAND
            left = left[2:]
        elif (name in known.BECOMES_ITS_COMMAND or _ENTRYPOINTS.fullmatch(left[0] if left else "")) and len(left) > 1:
            left = left[1:]
            while len(left) > 1 and (left[0].startswith("-") or "=" in left[0]):
                left = left[1:]
        elif name in known.SHELLS and len(left) == 3 and left[1] == "-c" and (inner := _one_command(left[2])):  # noqa: PLR2004
            left = inner
        else:
            break
    return (left[0].rpartition("/")[2], tuple(left[1:])) if left else ("", ())


def _one_command(text: str) -> list[str]:
    found = commands(text)
    return list(found[0].argv) if len(found) == 1 and not found[0].operator else []


def kind(name: str) -> str:
    """The name under which a program is known: php-fpm8.2 is php-fpm, postmaster is postgres."""
    if name in known.DAEMONS:
        return name
    plain = _VERSION.sub("", name)
    return _SAME.get(name) or (plain if plain in known.DAEMONS else name)


# --- one service by itself --------------------------------------------------------------------------------


def _stop(item: Written) -> Iterator[Verdict]:
    """TERM, which is the default, is not what it wants."""
    service = item.service
    name, arguments = program(service.command)
    row = known.STOPS.get(kind(name))
    if row is None or service.job or service.stop_signal != SIGTERM or "stop_signal" in item.keys:
        return
    if row.unless and any(row.unless in argument for argument in arguments):
        return
    level = row.level
    if row.unless and any(argument.endswith((".ini", ".yaml", ".yml", ".xml", ".json")) for argument in arguments):
        level = HINT  # it may stand there
    yield level, "command", f"{name} is stopped with SIGTERM", f"that is {row.term}", f"stop_signal: {row.signal}"


def _daemon(item: Written) -> Iterator[Verdict]:
    """It goes into the background, and no pid_file says where it is."""
    service = item.service
    name, arguments = program(service.command)
    if service.pid_file or service.job:
        return
    if name in known.WRAPPERS:
        why = "it starts the server again by itself and hides its exit code; that is cohabit's work"
        yield WARNING, "command", f"{name} is a supervisor of its own", why, f"command: {known.WRAPPERS[name]}"
        return
    row = known.DAEMONS.get(kind(name))
    if row is None or not daemonises(row, arguments):
        return
    certain = row.certain or name != kind(name)
    if any(
        argument in row.reads or argument.startswith(tuple(f"{one}=" for one in row.reads)) for argument in arguments
    ):
        certain = False
    what = f"{name} puts itself in the background" + ("" if certain else ", unless its configuration says otherwise")
    why = "its main process seems to end at once: exit code and output may be lost"
    level = WARNING if certain else HINT
    do = row.say if row.say.startswith("command:") else f"run {row.say}, or write pid_file:"
    yield level, "command", what, why, do


def daemonises(row: known.Daemon, arguments: Sequence[str]) -> bool:
    """Whether a program with this row goes into the background with these arguments."""
    if row.goes and not any(_has(mark, arguments, joined=False) for mark in row.goes):
        return False
    return not any(_has(mark, arguments, joined=row.joined) for mark in row.stays)


def _has(mark: str, arguments: Sequence[str], *, joined: bool) -> bool:
    """Whether a mark of known.Daemon is among the arguments."""
    if mark.endswith("…"):
        return any(mark[:-1] in argument for argument in arguments)
    if " " in mark:
        first, second = mark.split()
        pairs = pairwise(arguments)
        return (first, second) in pairs or f"{first}={second}" in arguments
    if joined and len(mark) == 2 and mark[0] == "-":  # noqa: PLR2004 - -f
        return any(re.match(rf"-[A-Za-z]*{mark[1]}", argument) for argument in arguments)
    return mark in arguments


def _unnoticed(item: Written) -> Iterator[Verdict]:
    service = item.service
    if not service.essential and service.restart.condition == "no" and not service.job and "essential" in item.keys:
        why = "restart is no, and essential is false: when it ends, the container goes on without it"
        yield (
            HINT,
            "essential",
            "nothing follows from its death",
            why,
            "restart: on-failure, or remove essential: false",
        )


_CHECKS = (_stop, _daemon, _unnoticed)


# --- commands as strings ----------------------------------------------------------------------------------


def _shell_strings(name: str, item: Written) -> Iterator[Finding]:
    for key, place, text in item.strings:
        what, certain = needs_shell(text.replace("\n", " ").strip())
        if what:
            shown = f"{key}: {what!r} would need a shell"
            why = "the string is split into words and run as it is: no shell reads it"
            script = json.dumps(text.strip(), ensure_ascii=False).replace("$", "$$")
            yield Finding(ERROR if certain else HINT, place, shown, why, f'{key}: ["sh", "-c", {script}]', name)


# --- services together ------------------------------------------------------------------------------------


def _early(name: str, item: Written, written: Mapping[str, Written]) -> Iterator[Finding]:
    """It waits for a slow server to be started only, and that has no health check."""
    for dependency in item.service.depends_on:
        other = written.get(dependency.service)
        if other is None or dependency.condition != STARTED or other.service.probe or other.service.job:
            continue
        server, arguments = program(other.service.command)
        row = known.SLOW.get(kind(server))
        if row is None:
            continue
        why = f"{server} takes a while until it answers; {name} must try again and again until then"
        test = row.test.replace("{port}", str(_port(row, arguments)))
        do = f"{dependency.service}: healthcheck: {{test: {test}}}, and condition: service_healthy here"
        what = f"waits for {dependency.service} only until it is started"
        yield Finding(HINT, item.place(f"depends_on.{dependency.service}"), what, why, do, name)


def _port(row: known.Slow, arguments: Sequence[str]) -> int | str:
    for at, argument in enumerate(arguments):
        flag, _, value = argument.partition("=")
        if flag in row.flags:
            found = value or (arguments[at + 1] if at + 1 < len(arguments) else "")
            return found if found.isdecimal() else "PORT"
    return row.port


def longest_chain(written: Mapping[str, Written]) -> tuple[float, tuple[str, ...]]:
    """The most seconds that a stop can take by the graces that were written, and who follows whom in it."""
    graph = {
        name: [d.service for d in item.service.depends_on if d.service in written] for name, item in written.items()
    }
    best: dict[str, tuple[float, tuple[str, ...]]] = {}
    for name in topological(graph):
        item = written[name]
        own = item.service.stop_grace_seconds if "stop_grace_period" in item.keys else 0.0
        below = max((best[other] for other in graph[name] if other in best), default=(0.0, ()))
        best[name] = (below[0] + own, (name, *below[1]) if own else below[1])
    return max(best.values(), default=(0.0, ()))


def _long_chain(written: Mapping[str, Written], total_seconds: float, place: str) -> Iterator[Finding]:
    """Each grace fits into the total, but one after the other they do not. `check` tells of one that is too long."""
    seconds, names = longest_chain(written)
    if seconds <= total_seconds or any(written[name].service.stop_grace_seconds > total_seconds for name in names):
        return
    what = f"{', '.join(names)} are stopped one after the other and may take {format_duration(seconds)}"
    why = f"everything together has {format_duration(total_seconds)}: the last ones are killed"
    do = f"x-cohabit: {{stop_grace_period: {format_duration(seconds)}}} (and as much from the platform)"
    yield Finding(WARNING, place, what, why, do)
