"""Check the supervisord.conf of an image that runs supervisord. Pure.

The file is that of -c, or the first of supervisord's list that the Dockerfile provides. Included files are not
examined: what they may contain leads to no finding.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from cohabit.config.text.ini_text import IniSection, parse
from cohabit.doctor.context import File
from cohabit.doctor.findings import ERROR, HINT, WARNING, Finding
from cohabit.doctor.replacement import HEALTHCHECK, instruction
from cohabit.doctor.start import base_name
from cohabit.plan.draft import SourceLocation, located

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cohabit.doctor.context import Unknown
    from cohabit.doctor.dockerfile import Image
    from cohabit.plan.node import Node

    Sections = dict[str, IniSection]

NAME = "supervisord"
_SEARCHED = ("/etc/supervisord.conf", "/etc/supervisor/supervisord.conf")
_TRUE = frozenset({"true", "yes", "on", "1"})
_STREAMS = re.compile(r"/dev/(?:std(?:out|err)|fd/[12])$|/proc/(?:self|1)/fd/[12]$")
_ENDS_ALL = re.compile(r"\bkill\b|supervisorctl\s.*shutdown|supervisord\.pid|\.shutdown\(|os\.kill")
_SERVERS = ("unix_http_server", "inet_http_server")


def arguments_of(argv: tuple[str, ...]) -> tuple[str, ...] | None:
    """The arguments of supervisord in a command line; None if it is not supervisord."""
    for at, word in enumerate(argv[:2]):
        if base_name(word) == NAME:
            return argv[at + 1 :]
    return None


def instead(name: str, arguments: tuple[str, ...]) -> str:
    """The changed line. name: of the instruction."""
    return f"{instruction(name, ('cohabit', NAME, *arguments))}, which runs the same file"


def examine(image: Image, argv: tuple[str, ...], file: str, find: Callable[[str], File | Unknown]) -> list[Finding]:
    """Return the findings. argv: the command line of the container; file: the name of the Dockerfile."""
    arguments = arguments_of(argv)
    if arguments is None:
        return []
    conf = _conf(arguments, find)
    if conf is None:
        return []
    sections: Sections = {}
    if parse(conf.text, conf.shown, sections) or NAME not in sections:
        return []
    found = [*_daemonizes(sections, arguments, conf), *_logs(sections), *_listeners(sections, find)]
    check = image.healthcheck
    text = "" if check is None else " ".join(check.argv or ()) or check.text
    has_server = any(name.startswith(_SERVERS) for name in sections) or "include" in sections
    if check is not None and "supervisorctl" in text and not has_server:
        why = f"{conf.shown} has no [unix_http_server]: the check fails always"
        what = "HEALTHCHECK runs supervisorctl, and supervisord has no server"
        found.append(Finding("supervisord-server", ERROR, SourceLocation(file, check.line), what, why, HEALTHCHECK))
    return found


def _conf(arguments: tuple[str, ...], find: Callable[[str], File | Unknown]) -> File | None:
    """The file, None if it is not known."""
    named = ""
    for at, word in enumerate(arguments):
        if word in ("-c", "--configuration"):
            named = arguments[at + 1] if at + 1 < len(arguments) else ""
        elif word.startswith("--configuration="):
            named = word.partition("=")[2]
        elif word.startswith("-c"):
            named = word.removeprefix("-c")
    found = (find(path if "/" in path else f"./{path}") for path in ((named,) if named else _SEARCHED))
    return next((one for one in found if isinstance(one, File)), None)


def _daemonizes(sections: Sections, arguments: tuple[str, ...], conf: File) -> Iterator[Finding]:
    node = sections[NAME].options.get("nodaemon")
    typed = any(one == "--nodaemon" or re.fullmatch(r"-[kst]*n[kst]*", one) for one in arguments)
    if typed or (node and (node.text.lower() in _TRUE or "%(" in node.text)) or "include" in sections:
        return
    why = "its first process, process 1, ends at once, and the container with it"
    place = located(conf.shown, node.line if node else sections[NAME].line)
    what = "supervisord puts itself in the background"
    do = f"nodaemon=true in [supervisord], or {instead('CMD', arguments)}: it stays in the foreground"
    yield Finding("supervisord-daemonizes", ERROR, place, what, why, do)


def _logs(sections: Sections) -> Iterator[Finding]:
    """A log that cannot be rotated: a stream of the container with the default size."""
    for section in sections.values():
        for stream in ("stdout_", "stderr_") if section.name != NAME else ("",):
            log, most = (section.options.get(f"{stream}{option}") for option in ("logfile", "logfile_maxbytes"))
            if log is not None and _STREAMS.match(log.text) and (most is None or most.text.strip("0") != ""):
                place = located("", log.line)
                what = f"[{section.name}] {stream}logfile is {log.text}, with a maximum size"
                why = "supervisord seeks in a file that it may rotate: `Illegal seek`, and the program has no output"
                do = f"{stream}logfile_maxbytes=0; cohabit supervisord needs none"
                yield Finding("supervisord-log", ERROR, place, what, why, do, _program(section))


def _listeners(sections: Sections, find: Callable[[str], File | Unknown]) -> Iterator[Finding]:
    for section in sections.values():
        command = section.options.get("command")
        if command is None:
            continue
        plugin = f"{command.text} {_text(section.options.get('result_handler'))}"
        place = located("", section.line)
        if re.search(r"supervisor[_-]stdout", plugin):
            why = "its version 0.1.1 does not run with Python 3, and a busy program fills its buffer: lines are lost"
            do = "[x-cohabit] with logging=prefix (or json), and cohabit supervisord"
            yield Finding("supervisord-stdout", WARNING, place, f"[{section.name}] is supervisor-stdout", why, do)
        elif section.name.startswith("eventlistener:") and _ends_all(command.text, find):
            why = "it is only there because supervisord stays when a program is FATAL, and its exit code is 0"
            do = "[x-cohabit:PROGRAM] with essential=true, and cohabit supervisord: the exit code is the program's own"
            what = f"[{section.name}] is there to end the container"
            yield Finding("supervisord-listener", HINT, place, what, why, do)


def _ends_all(command: str, find: Callable[[str], File | Unknown]) -> bool:
    """Whether a listener stops supervisord, by its command line or by a script of the image."""
    if _ENDS_ALL.search(command):
        return True
    scripts = (find(word) for word in command.split() if word.startswith("/"))
    return any(isinstance(one, File) and _ENDS_ALL.search(one.text) for one in scripts)


def _program(section: IniSection) -> str:
    return "" if section.name == NAME else section.name.partition(":")[2]


def _text(node: Node | None) -> str:
    return "" if node is None else node.text
