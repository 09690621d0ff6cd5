"""A supervisord.conf -> Draft (docs/reference/supervisord.md): its search, its programs, and what has no effect.

config/supervisord/ reads the file; its records keep all that the file says. This module makes one service of each
process, and one of the gateway if the file has servers or event listeners.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from cohabit import paths
from cohabit.config.readers.find import NoInputError, Source
from cohabit.config.readers.supervisord_own import OwnSections, with_dependencies, with_own
from cohabit.config.supervisord.conf import read_conf
from cohabit.config.supervisord.conversions import AUTO, NONE, SYSLOG
from cohabit.config.supervisord.gateway import connected, gateway_service
from cohabit.config.supervisord.reading import Reading
from cohabit.config.supervisord.sections import MAIN_FACTORY, RESULT_HANDLER
from cohabit.config.supervisord.services import (
    STREAMS,
    file_logging,
    namespec,
    service_of,
    syslog_logging,
    why_no_command,
    why_no_file,
)
from cohabit.config.text.source import UnreadableError, read_text
from cohabit.config.values.file_variables import is_kept
from cohabit.errors import EXIT_SUPERVISORD
from cohabit.plan.draft import Diagnostic, Draft, DraftService, SourceLocation
from cohabit.plan.model import MAIN_LOG, OWN_NAME, TOTAL_GRACE_SECONDS, Logging
from cohabit.program import program

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from cohabit.config.supervisord.sections import Conf, GroupSection, ProcessEntry, SupervisordSection
    from cohabit.plan.model import Service

FORMAT = "supervisord"
_IN_DIRECTORY = ("supervisord.conf", "etc/supervisord.conf")
_IN_ETC = ("/etc/supervisord.conf", "/etc/supervisor/supervisord.conf")
# Debian's package has that last file, and images add files to its directory. Without the package, this is its text.
_DEBIAN_DIRECTORY = "/etc/supervisor/conf.d"
_OF_DEBIAN = f"""\
[unix_http_server]
file=/var/run/supervisor.sock
[supervisord]
pidfile=/var/run/supervisord.pid
[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface
[include]
files = {_DEBIAN_DIRECTORY}/*.conf
"""
# The keys of cohabit.yaml, and the options of supervisord with their lines.
_PLACES = {"command": "command", "user": "user", "working_dir": "directory", "logging": "stdout_logfile"}
# Options of [supervisord] that are accepted and have no effect: docs/reference/supervisord.md says why.
_WITHOUT_EFFECT = ("nocleanup", "childlogdir")
_ONLY_AS_DAEMON = ("umask", "directory")


def find_conf(typed: Mapping[str, Any]) -> Source:
    """The file of `cohabit supervisord`: that of -c, otherwise the first of supervisord's list. Raises NoInputError.

    typed: the options of the command line.
    """
    path = typed.get("configuration")
    warning = ""
    if path is None:
        path, warning = _searched()
    where = SourceLocation(path)
    try:
        text = _OF_DEBIAN if _is_left_out(path) else read_text(f"./{path}" if path == "-" else path)
    except FileNotFoundError as error:
        raise NoInputError(where, f"Error: could not find config file {path}", EXIT_SUPERVISORD) from error
    except UnreadableError as error:
        why = f"Error: could not read config file {path}: {error}"
        raise NoInputError(where, why, EXIT_SUPERVISORD) from error
    warnings = (Diagnostic(where, warning, warning=True),) if warning else ()
    return Source(path, path, text, typed, warnings=warnings, format=FORMAT)


def _is_left_out(path: str) -> bool:
    """Whether it is the file of Debian's package, which is not installed, and there are files for its directory."""
    return path == _IN_ETC[-1] and not os.path.lexists(path) and os.path.isdir(_DEBIAN_DIRECTORY)


def _searched() -> tuple[str, str]:
    """The first existing file of supervisord's list, otherwise that of Debian, and a warning. Raises NoInputError.

    A file of the working directory decides what root runs: one that another user could have put there is passed over.
    """
    beside = os.path.dirname(os.path.dirname(program("cohabit")[0]))
    searched = [*(os.path.join(beside, name) for name in reversed(_IN_DIRECTORY)), *_IN_DIRECTORY, *_IN_ETC]
    warning = ""
    for path in searched:
        if not os.path.exists(path):
            continue
        if path in _IN_DIRECTORY and os.geteuid() == 0 and not paths.is_private(path):
            warning = f"{os.path.abspath(path)} is ignored: other users can change its directory (name it with -c)"
            continue
        return path, warning
    if _is_left_out(_IN_ETC[-1]):
        return _IN_ETC[-1], warning
    text = (
        f"Error: No config file found at default paths ({', '.join(searched)}); use the -c option to specify a config "
        "file at a different path"
    )
    raise NoInputError(SourceLocation("supervisord"), f"{text}. {warning}".rstrip(". "), EXIT_SUPERVISORD)


def read(source: Source, environ: Mapping[str, str]) -> Draft:
    """The Draft of a supervisord.conf; `source.arguments` are the options of supervisord's command line."""
    reading = Reading(source.name, environ)
    location = SourceLocation(source.name)
    for other in source.others:
        reading.error(f"{other.name} cannot be added: use [include] in {source.name}")
    conf = read_conf(reading, source.text, source.arguments)
    if conf is None:
        return Draft(location, {}, problems=(*source.warnings, *reading.problems), stays=True)
    own = OwnSections(reading, conf, environ)
    services: dict[str, DraftService] = {}
    groups: dict[str, str] = {}
    beside: list[str] = []
    for group in conf.groups:
        for entry in sorted(group.processes, key=lambda one: one.priority):
            item = with_own(_draft_service(reading, conf, group, entry), group, entry, own)
            if item.service.name in services:
                text = f"[{entry.section}] has a process {item.service.name!r} as another program: only this one runs"
                reading.warn(text, item.where.line)
                del services[item.service.name]
            services[item.service.name] = item
            groups[item.service.name] = group.name
            beside += [item.service.name] if group.pool else []
    main_log = _main_log(conf.supervisord, own.container.logging or (Logging(MAIN_LOG),))
    services = _with_one_rotation(reading, with_dependencies(services, conf, own), main_log)
    gateway = _gateway(reading, conf, source)
    if gateway is not None:
        services[gateway.name] = DraftService(gateway, location, essential=False)
        groups[gateway.name] = gateway.name
        beside.append(gateway.name)
    own.report_all()
    _add_notices(reading, conf, {name for name, item in services.items() if item.service.logging == (Logging("none"),)})
    total = own.container.stop_grace_seconds
    return Draft(
        location,
        services,
        _total_grace(services.values()) if total is None else total,
        (*source.warnings, *reading.problems),
        logging=main_log,
        files=conf.files,
        unmerged=False,
        variables=dict(environ),
        stays=True,
        groups=groups,
        pid_file=conf.supervisord.pidfile,
        exit_when_all_ended=own.container.exit_when_all_ended,
        beside=tuple(beside),
    )


def _gateway(reading: Reading, conf: Conf, source: Source) -> Service | None:
    try:
        return gateway_service(conf, source.path, source.arguments)
    except OSError as error:
        reading.error(f"cannot find the address of a server: {error.strerror} (correct its port=)")
        return None


def _draft_service(reading: Reading, conf: Conf, group: GroupSection, entry: ProcessEntry) -> DraftService:
    options = reading.options(entry.section)
    service = service_of(conf, group, entry)
    try:
        service = connected(service, conf, group, entry)
    except OSError as error:
        options.report(f"cannot find the address of the socket of {service.name}: {error.strerror}", "socket")
    if service.name == OWN_NAME:
        options.report(f"the name {OWN_NAME} is reserved for cohabit's own messages (choose another)")
    if why := why_no_command(entry.command):
        options.warn(f"{service.name} cannot start: {why}", "command")
    written = {key: node for key, option in _PLACES.items() if (node := options.node(option)) is not None}
    where = SourceLocation(options.line.file, int(options.line))
    variables = {name.removeprefix("ENV_"): str(value) for name, value in reading.variables.items()}
    given = {**variables, **service.environment}
    kept = tuple(name for name, value in given.items() if is_kept(name, value, service))  # they stay as they are
    return DraftService(service, where, written=written, essential=False, path_variables=kept)


def _with_one_rotation(
    reading: Reading, services: dict[str, DraftService], main_log: Iterable[Logging]
) -> dict[str, DraftService]:
    """A file that several programs write is rotated as the first of them says, or as the main log is."""
    rotations = {entry.path: entry for entry in main_log if entry.path}
    found = {}
    for name, item in services.items():
        entries = []
        for entry in item.service.logging:
            first = rotations.setdefault(entry.path, entry) if entry.path else entry
            if (first.bytes_max, first.files_max) != (entry.bytes_max, entry.files_max):
                text = f"{entry.path} has several sizes or numbers of backups: the first ones are used"
                reading.warn(text, item.place("logging").line)
            entries.append(entry.replace(bytes_max=first.bytes_max, files_max=first.files_max))
        found[name] = item.replace(service=item.service.replace(logging=tuple(dict.fromkeys(entries))))
    return found


def _total_grace(services: Iterable[DraftService]) -> float:
    """The sum over the priorities: services of one priority stop together, the others one after the other."""
    longest: dict[int, float] = {}
    for item in services:
        priority = item.service.priority
        longest[priority] = max(longest.get(priority, 0.0), item.service.stop_grace_seconds)
    return max(sum(longest.values()), TOTAL_GRACE_SECONDS)


def _main_log(supervisord: SupervisordSection, output: tuple[Logging, ...]) -> tuple[Logging, ...]:
    """Where cohabit's own messages go: to `output`, as in the foreground, and to the main log if it is set."""
    found = [] if supervisord.silent else [*output]
    path = supervisord.logfile
    if "logfile" in supervisord.given and path not in (*STREAMS, os.devnull):
        file = file_logging(path, supervisord.logfile_maxbytes, supervisord.logfile_backups).replace(format=MAIN_LOG)
        found.append(syslog_logging("supervisord") if path == SYSLOG else file)
    elif supervisord.silent and path in STREAMS and "logfile" in supervisord.given:
        found += output
    return tuple(found) or (Logging("none"),)


def _add_notices(reading: Reading, conf: Conf, unlogged: Collection[str]) -> None:
    """One warning for each kind of thing that has no effect. unlogged: processes whose output goes nowhere."""
    supervisord = conf.supervisord
    if reading.ignored:
        reading.warn(f"ignored, as by supervisord: {', '.join(reading.ignored)}")
    without = [name for name in _WITHOUT_EFFECT if name in supervisord.given]
    without += [name for name in _ONLY_AS_DAEMON if name in supervisord.given and supervisord.nodaemon]
    if without:
        reading.warn(f"without effect here: [supervisord] {', '.join(without)}")
    entries = [(group, entry) for group in conf.groups for entry in group.processes]
    if supervisord.strip_ansi:
        reading.warn("not supported yet: [supervisord] strip_ansi")
    handlers = [group.section for group in conf.groups if group.pool and group.pool.result_handler != RESULT_HANDLER]
    if handlers:
        reading.warn(f"not supported, and the default is used: result_handler of {', '.join(handlers)}")
    factories = [f"[rpcinterface:{one.name}]" for one in conf.rpcinterfaces if one.factory != MAIN_FACTORY]
    if factories:
        reading.warn(f"not supported, and left out: {', '.join(factories)}")
    for _, each in entries:
        for stream in (each.stdout, each.stderr):
            path = stream.logfile
            if path not in (AUTO, NONE, os.devnull, *STREAMS) and (why := why_no_file(path)):
                reading.warn(f"[{each.section}] cannot log to {path}: {why}; cohabit logs shows the last output")
    in_memory = [
        namespec(group.name, each.name)
        for group, each in entries
        if namespec(group.name, each.name) in unlogged
        and AUTO in (each.stdout.logfile, NONE if each.redirect_stderr else each.stderr.logfile)
    ]
    if in_memory:
        text = (
            "keeps its last output in memory, and writes no file AUTO"
            if len(in_memory) == 1
            else ("keep their last output in memory, and write no files AUTO")
        )
        hint = "cohabit logs shows it; write stdout_logfile=/dev/stdout for docker logs"
        reading.warn(f"{', '.join(in_memory)}: {text} ({hint})")
