"""[program:x], [fcgi-program:x] and [eventlistener:x] -> their processes, one for each of numprocs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cohabit.config.supervisord import conversions as to
from cohabit.config.supervisord.reading import text_of
from cohabit.config.supervisord.sections import ProcessEntry, StreamLog

if TYPE_CHECKING:
    from cohabit.config.supervisord.reading import Options, Reading

_PROCESSES_MAX = 10_000


def read_processes(reading: Reading, section: str, group: str) -> tuple[ProcessEntry, ...]:
    """The processes of a section, in the order of their names. group: the name of the group that they are in."""
    suffix = f" in section {section!r} (file: {reading.sections[section].line.file!r})"
    options = reading.options(section, suffix)
    try:
        program = to.name(section.partition(":")[2])
    except ValueError as error:
        options.report(error)
        return ()
    options.names |= {"program_name": program, "host_node_name": reading.node_name, "group_name": group}
    common = _common(options)
    number, first = options.get("numprocs", "1", int), options.get("numprocs_start", "0", int)
    common |= _of_every_process(options)
    name = options.raw("process_name", "%(program_name)s").strip()
    if wrong := _why_not(name, number, common):
        options.report(*wrong)
        return ()
    found: list[ProcessEntry] = []
    for process in range(first, first + number):
        options.names |= {"process_num": process, "numprocs": number, **reading.variables}
        entry = _process(options, name, common)
        if entry is None:
            break  # the others have the same errors
        found.append(entry)
    return tuple(sorted(found, key=lambda one: one.name))


def _why_not(name: str, number: int, common: dict[str, Any]) -> tuple[str, str] | None:
    """Why there are no such processes, with the option; None if there are."""
    try:
        to.name(name)
    except ValueError as error:
        return str(error), "process_name"
    if number > 1 and "%(process_num)" not in name:
        return "%(process_num) must be present within process_name when numprocs > 1", "numprocs"
    if number > _PROCESSES_MAX:
        return f"numprocs is more than {_PROCESSES_MAX:,}", "numprocs"
    if common["stopasgroup"] and not common["killasgroup"]:
        return "Cannot set stopasgroup=true and killasgroup=false", "killasgroup"
    return None


def _common(options: Options) -> dict[str, Any]:
    """The options before numprocs, in supervisord's order: its first error is also the first one here."""
    found: dict[str, Any] = {
        "section": options.section,
        "priority": options.get("priority", "999", int),
        "autostart": options.get("autostart", "true", to.boolean),
        "autorestart": options.get("autorestart", to.RESTART_UNEXPECTED, to.restart),
        "startsecs": options.get("startsecs", "1", int),
        "startretries": options.get("startretries", "3", int),
        "stopsignal": options.get("stopsignal", "TERM", to.stop_signal),
        "stopwaitsecs": options.get("stopwaitsecs", "10", int),
        "stopasgroup": options.get("stopasgroup", "false", to.boolean),
    }
    as_stop = "true" if found["stopasgroup"] else "false"
    found["killasgroup"] = options.get("killasgroup", as_stop, to.boolean)
    found["exitcodes"] = options.get("exitcodes", "0", to.exit_codes)
    found["redirect_stderr"] = options.get("redirect_stderr", "false", to.boolean)
    return found


def _of_every_process(options: Options) -> dict[str, Any]:
    """The options after numprocs that all processes share. Those of a stream have their own keys, for _process."""
    found: dict[str, Any] = {
        f"{stream}_{option}": options.get(f"{stream}_{option}", default, convert)
        for stream in ("stdout", "stderr")
        for option, default, convert in (
            ("capture_maxbytes", "0", to.size),
            ("events_enabled", "false", to.boolean),
        )
    }
    serverurl = options.get_or_none("serverurl", text_of)
    found["serverurl"] = None if serverurl and serverurl.strip().upper() == "AUTO" else serverurl
    found["user"] = options.get_or_none("user", text_of)
    found["uid"] = options.get_or_none("user", to.user_id)
    found["umask"] = options.get_or_none("umask", to.octal)
    return found


def _process(options: Options, name: str, common: dict[str, Any]) -> ProcessEntry | None:
    """One process. The names of `options` are those of this process, and get the variables of its environment."""
    names = options.names
    try:
        environment = to.variables(to.expand(options.raw("environment"), names, "environment"))
    except ValueError as error:
        options.report(error, "environment")
        return None
    names |= {f"ENV_{key}": value for key, value in environment.items()}
    directory = options.get_or_none("directory", text_of)
    values = dict(common)
    stdout, stderr = (_stream_log(options, stream, values) for stream in ("stdout", "stderr"))
    if values["redirect_stderr"]:
        if stderr.logfile not in (to.AUTO, to.NONE):
            options.warn(
                f"For [{options.section}], redirect_stderr=true but stderr_logfile has also been set to a filename, "
                "the filename has been ignored",
                "stderr_logfile",
            )
        stderr = stderr.replace(logfile=to.NONE)
    if options.node("command") is None:
        options.report(f"program section {options.section} does not specify a command")
        return None
    command = options.get_or_none("command", text_of)
    try:
        expanded = _checked(to.expand(name, names, "process_name"), name)
    except ValueError as error:
        options.report(error, "process_name")
        return None
    if command is None:
        return None
    values |= {"directory": directory, "environment": environment, "stdout": stdout, "stderr": stderr}
    return ProcessEntry(expanded, command=command, **values)


def _checked(name: str, written: str) -> str:
    """A name after its expansions, which supervisord does not check: it becomes a part of paths and of log lines."""
    if not name.isprintable() or name in ("", ".", "..") or not {" ", ":", "/"}.isdisjoint(name):
        raise ValueError(f"Invalid name: the value of {written!r} is empty, or has a character that names cannot have")
    return name


def _stream_log(options: Options, stream: str, values: dict[str, Any]) -> StreamLog:
    """The log options of a stream. Takes those that are already read out of `values`."""
    option = f"{stream}_logfile"
    file = to.AUTO
    if options.node(option) is not None:  # expanded twice, as by supervisord
        again = options.names
        file = options.get(option, to.AUTO, to.log_file, lambda text: to.expand(text, again, option))
    backups = options.get(f"{option}_backups", "10", int)
    most = options.get(f"{option}_maxbytes", "50MB", to.size)
    syslog = options.get(f"{stream}_syslog", "false", to.boolean)
    if file == to.SYSLOG:
        options.warn(
            f"For [{options.section}], {option}=syslog but this is deprecated and will be removed.  "
            f"Use {stream}_syslog=true to enable syslog instead.",
            option,
        )
        file, syslog = to.NONE, True
    return StreamLog(
        file, most, backups, values.pop(f"{stream}_capture_maxbytes"), values.pop(f"{stream}_events_enabled"), syslog
    )
