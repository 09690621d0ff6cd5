"""Check which program a container runs: other supervisors, daemons, and arguments with quotes. Pure.

Each check is a function of the Image and its start command, as in image.py.
"""

from __future__ import annotations

import json
import re
import shlex
from typing import TYPE_CHECKING, TypeAlias

from cohabit.doctor import known, replacement, script, sh, start, supervisord, wrapper
from cohabit.doctor.context import File, Unknown
from cohabit.doctor.findings import ERROR, HINT, WARNING
from cohabit.doctor.sh_tokens import Word

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cohabit.doctor.dockerfile import Image
    from cohabit.doctor.start import StartCommand

FindingFields: TypeAlias = tuple[str, int, str, str, str]  # level, line, what, why, do
_DAEMON_OFF = re.compile(r"daemon\s+off\b")
_NGINX_FILE = "/etc/nginx/nginx.conf"
_QUOTED = re.compile(r"'.*'|\".*\"", re.DOTALL)
_INSTEAD = f"one service for each of its programs in a cohabit.yaml, and {replacement.recommended()}"
# Programs whose arguments may be texts of a language in which quotes have a meaning.
_INTERPRETERS = re.compile(
    r"(?:sh|bash|dash|ash|python[0-9.]*|node|ruby|perl|php|jq|awk|gawk|sed|psql|mysql|su|eval|xargs|find|docker)$"
)


def kept_in_foreground(image: Image, find: Callable[[str], File | Unknown]) -> frozenset[str]:
    """Return the programs that a configuration file keeps, or may keep, from daemonizing: nginx with `daemon off`.

    The files of official base images are known not to say it.
    """
    if _DAEMON_OFF.search(image.installed) or not image.base or "/" in split(image.base)[0]:
        return frozenset({"nginx", "openresty"})
    found = find(_NGINX_FILE)
    if (isinstance(found, File) and _DAEMON_OFF.search(found.text)) or (isinstance(found, Unknown) and found.provided):
        return frozenset({"nginx", "openresty"})
    return frozenset()


def _supervisor(image: Image, start_command: StartCommand) -> Iterator[FindingFields]:
    """Another supervisor runs the services: in the start command, behind scripts, or of the base image."""
    if start_command.cohabit is not None:
        return
    item = start_command.instruction
    line = item.line if item else image.line
    argv = staying(start_command)
    if any(
        one.name and argv and argv[0] in getattr(one.conduct and one.conduct.last, "argv", ())
        for one in start_command.scripts
    ):
        return  # wrapper.py says it, with the line of the script
    init = start.supervisor(argv)
    if init is None and not argv and image.cmd and image.cmd.argv and item is image.entrypoint:
        argv = start.unwrapped(image.cmd.argv)[1]  # behind a script that is not known
        init = start.supervisor(argv)
        if init is not None:
            what = f"CMD is {argv[0]}, behind {start_command.argv[0]}"
            yield WARNING, image.cmd.line, what, f"{argv[0]} {init.behaviour}", _instead("CMD", argv)
            return
    if init is not None:
        if image.cmd and image.cmd.argv and image.cmd is not item and argv[0] in image.cmd.argv:
            line = image.cmd.line
        name = "CMD" if item is None or (image.cmd and argv[0] in (image.cmd.argv or ())) else item.name
        yield WARNING, line, f"{argv[0]} runs the services", f"it {init.behaviour}", _instead(name, argv)
        return
    base = next((row for row in base_rows(image.base) if row.init), None)
    if base is not None and image.entrypoint is None and base.init != "tini":
        init = known.INITS["s6-svscan"] if base.init == known.S6_PATH else known.INITS[base.init]
        what = f"{base.init} of {image.base} runs the services"
        yield WARNING, line, what, f"it {init.behaviour}", replacement.recommended()


def _instead(name: str, argv: tuple[str, ...]) -> str:
    """The line to write. name: of the instruction. A supervisord.conf runs as it is."""
    arguments = supervisord.arguments_of(argv)
    return _INSTEAD if arguments is None else supervisord.instead(name, arguments)


def staying(start_command: StartCommand) -> tuple[str, ...]:
    """The command line that stays, without the programs that only run it; () if it is not known."""
    if start_command.final:
        return start.unwrapped(start_command.final)[1]
    last = start_command.scripts[-1] if start_command.scripts else None
    if last is not None and last.conduct is not None:
        for step in last.conduct.steps:
            argv = getattr(step.node, "argv", ())
            if argv and start.supervisor(start.unwrapped(argv)[1]) is not None:
                return start.unwrapped(argv)[1]
    return ()


def _not_cohabit(image: Image, start_command: StartCommand) -> Iterator[FindingFields]:
    """Something else runs; the findings that say what is wrong with it replace this one."""
    if start_command.cohabit is not None:
        return
    item = start_command.instruction
    argv = staying(start_command) or start.unwrapped(start_command.argv)[1]
    if start_command.shell and not staying(start_command):
        what = f"a script of the shell ({item.name if item else 'CMD'}) is what the container runs"
    else:
        what = f"{argv[0]} is what the container runs" if argv else "what the container runs is the base image's own"
    line = item.line if item else image.line
    yield HINT, line, f"{what}, not cohabit", "no supervisor manages the services", replacement.recommended()


def _daemonizes(_image: Image, start_command: StartCommand) -> Iterator[FindingFields]:
    """The program in exec form puts itself in the background."""
    item = start_command.instruction
    if not item or start_command.scripts or start_command.cohabit is not None:
        return
    argv = start_command.final
    if not script.becomes_daemon(argv, start_command.foreground):
        return
    why = "its first process ends at once, and with it the container"
    text, unknown = replacement.in_foreground(sh.Simple(tuple(map(Word, argv)), (), shlex.join(argv), 0))
    words = start.shell_commands(text)
    do = replacement.instruction(item.name, words[0].argv) if words else f"run {unknown} in the foreground"
    yield ERROR, item.line, f"{' '.join(argv)} puts itself in the background", why, do


def _only_waits(_image: Image, start_command: StartCommand) -> Iterator[FindingFields]:
    """The exec form of `sleep infinity`, `tail -f /dev/null`."""
    item = start_command.instruction
    argv = start_command.final
    if item and not start_command.scripts and argv and _waits(argv):
        why = "it starts no service, and `docker stop` ends with SIGKILL: as process 1 it ignores TERM"
        if start.unwrapped(start_command.argv)[0]:
            why = "it starts no service"
        yield WARNING, item.line, f"{item.name} keeps the container alive with {argv[0]}", why, wrapper.only_waits()


def _waits(argv: tuple[str, ...]) -> bool:
    name = start.base_name(argv[0])
    return (name == "sleep" and bool({"infinity", "inf"} & set(argv))) or (
        name == "tail" and "/dev/null" in argv and any(re.match(r"-[a-zA-Z]*[fF]|--follow", one) for one in argv)
    )


def _quotes(image: Image, start_command: StartCommand) -> Iterator[FindingFields]:
    """Quotes inside an argument of the exec form are passed to the program."""
    for item in (image.entrypoint, image.cmd):
        if item is None or not item.argv or start_command.shell:
            continue
        words = item.argv
        programs = [start.base_name(word) for word in (*start_command.argv, *words)]
        if any(_INTERPRETERS.match(name) for name in programs):
            continue
        wrong = [word for word in words if _QUOTED.fullmatch(word) and len(word) > 2]  # noqa: PLR2004 - a letter
        if not wrong:
            continue
        do = replacement.instruction(item.name, [word[1:-1] if word in wrong else word for word in words])
        nginx = any(name in ("nginx", "openresty") for name in programs) and "-g" in words
        why = "the exec form is run without a shell: the quotes are a part of the argument"
        why += ", and nginx ends with an error" if nginx else ""
        yield (ERROR if nginx else HINT), item.line, f"{json.dumps(wrong[0])} has quotes of its own", why, do


def base_rows(image: str) -> list[known.Base]:
    """Return the rows of known.BASES for an image."""
    name, tag = split(image)
    rows = [
        row
        for key, rows in known.BASES.items()
        if name == key or (key[-1] in "/-" and name.startswith(key))
        for row in rows
    ]
    return [
        row
        for row in rows
        if (not row.tags or any(word in tag for word in row.tags)) and not any(word in tag for word in row.not_tags)
    ]


def split(image: str) -> tuple[str, str]:
    """Return the name of an image without registry and library/, and its tag."""
    name = image.partition("@")[0]
    first, slash, rest = name.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        name = rest
    name, _, tag = name.partition(":")
    return name.removeprefix("library/"), tag


CHECKS: tuple[tuple[str, Callable[[Image, StartCommand], Iterator[FindingFields]]], ...] = (
    ("other-supervisor", _supervisor),
    ("daemonizes", _daemonizes),
    ("keep-alive", _only_waits),
    ("quotes-in-exec-form", _quotes),
    ("not-cohabit", _not_cohabit),
)
