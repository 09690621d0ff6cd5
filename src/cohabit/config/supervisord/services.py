"""One process of a supervisord.conf -> plan.model.Service, with supervisord's meaning of each option."""

from __future__ import annotations

import os
import resource
import shlex
import stat
from typing import TYPE_CHECKING

from cohabit.config.supervisord.conversions import AUTO, NONE, RESTART_ALWAYS, RESTART_NEVER
from cohabit.config.values.address import SYSLOG_ADDRESS, syslog_format
from cohabit.config.values.user import identity
from cohabit.plan.draft import UNREADABLE
from cohabit.plan.model import CONTROL_GROUP, MIXED, Limits, Logging, Restart, Service, Startup

if TYPE_CHECKING:
    from cohabit.config.supervisord.sections import Conf, GroupSection, ProcessEntry, StreamLog, SupervisordSection
    from cohabit.plan.model import Credentials

# Paths of the container's own streams. supervisord opens them again, which fails for many users, and with a size limit;
# here the lines go to the stream, whatever the limit is.
STREAMS = {
    f"{directory}/{name}": stream
    for stream, number in (("stdout", 1), ("stderr", 2))
    for directory, name in (("/dev", stream), ("/dev/fd", number), ("/proc/self/fd", number), ("/proc/1/fd", number))
}
_CONDITIONS = {RESTART_ALWAYS: "always", RESTART_NEVER: "no"}
_LONGEST_SECONDS = 10.0**9


def namespec(group: str, process: str) -> str:
    """The name of a process in supervisorctl: "group:process", or "process" if both have one name."""
    return process if process == group else f"{group}:{process}"


def service_of(conf: Conf, group: GroupSection, entry: ProcessEntry) -> Service:
    """The service of a process. Raises ValueError if its command cannot be parsed, with the service for `command`."""
    supervisord = conf.supervisord
    directory = entry.directory
    if directory is None and not supervisord.nodaemon:
        directory = supervisord.directory
    return Service(
        name=namespec(group.name, entry.name),
        command=_command(entry.command),
        environment=_environment(conf, group, entry),
        working_dir=None if directory is None else os.path.abspath(directory),
        user=_credentials(entry.user, supervisord.user),
        restart=Restart(
            _CONDITIONS.get(entry.autorestart, "on-failure"), delay_seconds=0.0, expected_codes=entry.exitcodes
        ),
        stop_signal=entry.stopsignal,
        stop_grace_seconds=_seconds(entry.stopwaitsecs),
        kill_mode=CONTROL_GROUP if entry.stopasgroup else MIXED,
        autostart=entry.autostart,
        essential=False,
        ends_on_success=False,
        logging=_logging(entry),
        limits=_limits(supervisord, entry),
        stdin=True,
        startup=Startup(_seconds(entry.startsecs), max(0, entry.startretries)),
        priority=group.priority,
        stderr_to_stdout=entry.redirect_stderr,
    )


def why_no_command(command: str) -> str:
    """Why a command cannot be started, "" if it can; supervisord finds out at the start of the program."""
    try:
        return "" if shlex.split(command) else "command is empty"
    except ValueError as error:
        return f"can't parse command: {error}"


def _command(text: str) -> tuple[str, ...]:
    """The words. A text that has none is the name of a program that there is not: its start fails, as there."""
    if why_no_command(text):
        return (text.strip() or UNREADABLE,)
    return tuple(shlex.split(text))


def _seconds(number: int) -> float:
    return float(min(max(0, number), int(_LONGEST_SECONDS)))


def _environment(conf: Conf, group: GroupSection, entry: ProcessEntry) -> dict[str, str | None]:
    """The variables that supervisord sets, which the file may set to other values."""
    url = entry.serverurl or conf.serverurl
    return {
        "SUPERVISOR_ENABLED": "1",
        **({"SUPERVISOR_SERVER_URL": url} if url else {}),
        "SUPERVISOR_PROCESS_NAME": entry.name,
        "SUPERVISOR_GROUP_NAME": group.name,
        **entry.environment,
    }


def _credentials(user: str | None, default: str | None) -> Credentials | None:
    """The user of a process: its own, or that of supervisord. HOME and USER stay as they are, as with supervisord."""
    written = user if user is not None else default
    if written is None:
        return None
    try:
        found = identity(written.strip())
    except LookupError:
        return None  # an error that is reported
    return None if found.uid == os.geteuid() else found.replace(name="", home="")


def _limits(supervisord: SupervisordSection, entry: ProcessEntry) -> Limits:
    """The umask, and the limits that are below minfds and minprocs. supervisord has a umask only as a daemon."""
    umask = entry.umask
    if umask is None and not supervisord.nodaemon:
        umask = supervisord.umask
    ulimits = []
    for number, least in ((resource.RLIMIT_NOFILE, supervisord.minfds), (resource.RLIMIT_NPROC, supervisord.minprocs)):
        soft, hard = resource.getrlimit(number)
        if resource.RLIM_INFINITY != soft < least:
            ulimits.append((int(number), least, hard if hard == resource.RLIM_INFINITY else max(hard, least)))
    return Limits(tuple(ulimits), umask=umask)


def _logging(entry: ProcessEntry) -> tuple[Logging, ...]:
    """The destinations. Both streams of one file are one entry."""
    found = _destinations(entry.stdout, "" if entry.redirect_stderr else "stdout", entry)
    if not entry.redirect_stderr:
        found += _destinations(entry.stderr, "stderr", entry)
    merged: dict[Logging, Logging] = {}
    for one in found:
        alike = one.replace(stream="")
        merged[alike] = alike if alike in merged else one
    return tuple(merged.values()) or (Logging("none"),)


def _destinations(log: StreamLog, stream: str, entry: ProcessEntry) -> list[Logging]:
    found = []
    if log.logfile in STREAMS:
        output = STREAMS[log.logfile]
        # Not "raw", whose lines can be torn by those of other programs, and are not recorded.
        found.append(Logging(stream=stream, output="" if output == stream else output, before=()))
    elif log.logfile not in (AUTO, NONE, os.devnull) and not why_no_file(log.logfile):
        path = os.path.abspath(log.logfile)
        found.append(file_logging(path, log.logfile_maxbytes, log.logfile_backups, stream))
    if log.syslog:
        found.append(syslog_logging(entry.name, stream))
    return found


def why_no_file(path: str) -> str:
    """Why a path cannot be a log file, "" if it can: a program would wait until its output can be written."""
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return ""
    return "" if stat.S_ISREG(mode) else "it is a directory" if stat.S_ISDIR(mode) else "it is not a regular file"


def file_logging(path: str, bytes_max: int, backups: int, stream: str = "") -> Logging:
    """A file that is rotated as supervisord rotates it: FILE.1 to FILE.n."""
    return Logging("file", path=path, bytes_max=max(0, bytes_max), files_max=max(0, backups) + 1, stream=stream)


def syslog_logging(tag: str, stream: str = "") -> Logging:
    """The syslog of this machine. No program waits for it: many containers have none, or start it as a program."""
    form = syslog_format(SYSLOG_ADDRESS)
    return Logging("syslog", blocking=False, address=SYSLOG_ADDRESS, format=form, tag=tag, stream=stream)
