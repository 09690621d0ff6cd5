"""The sections of a supervisord.conf that are not programs: [supervisord], the servers and their like."""

from __future__ import annotations

import os
import resource
import tempfile
from typing import TYPE_CHECKING

from cohabit.config.supervisord import conversions as to
from cohabit.config.supervisord.reading import text_of, worded
from cohabit.config.supervisord.sections import (
    MAIN_FACTORY,
    CtlSection,
    RpcInterfaceSection,
    ServerSection,
    SupervisordSection,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from cohabit.config.supervisord.reading import Options, Reading

_FACTORY = "supervisor.rpcinterface_factory"
# Options of the command line: how their values are converted, and the others, which are flags.
_TYPED: Mapping[str, Callable[[str], Any]] = {
    "user": text_of, "umask": to.octal, "directory": to.directory, "logfile": to.file_path,
    "logfile_maxbytes": to.size, "logfile_backups": int, "loglevel": to.level, "pidfile": to.file_path,
    "identifier": text_of, "childlogdir": to.directory, "minfds": int, "minprocs": int,
}  # fmt: skip
_FLAGS = ("nodaemon", "nocleanup", "strip_ansi", "silent")


def read_supervisord(reading: Reading, typed: Mapping[str, Any]) -> SupervisordSection:
    """[supervisord], with the options of the command line, which take precedence. Raises KeyError without it."""
    options = reading.options("supervisord")
    found: dict[str, Any] = {
        "minfds": options.get("minfds", "1024", int),
        "minprocs": options.get("minprocs", "200", int),
        "directory": options.get_or_none("directory", to.directory),
        "user": options.get_or_none("user", text_of),
        "umask": options.get("umask", "022", to.octal),
        "logfile": options.get("logfile", "supervisord.log", to.file_path),
        "logfile_maxbytes": options.get("logfile_maxbytes", "50MB", to.size),
        "logfile_backups": options.get("logfile_backups", "10", int),
        "loglevel": options.get("loglevel", "info", to.level),
        "pidfile": options.get("pidfile", "supervisord.pid", to.file_path),
        "identifier": options.get("identifier", "supervisor", text_of),
        "nodaemon": options.get("nodaemon", "false", to.boolean),
        "silent": options.get("silent", "false", to.boolean),
        "childlogdir": options.get("childlogdir", tempfile.gettempdir(), to.directory),
        "nocleanup": options.get("nocleanup", "false", to.boolean),
        "strip_ansi": options.get("strip_ansi", "false", to.boolean),
        "environment": _environment(reading, options),
    }
    found |= _typed_options(reading, typed)
    found["logfile"] = found["logfile"] if found["logfile"] == to.SYSLOG else to.normal_path(found["logfile"])
    found["pidfile"] = to.normal_path(found["pidfile"])
    given = (*(name for name in found if options.node(name)), *(name for name in found if name in typed))
    reading.variables |= {f"ENV_{name}": value for name, value in found["environment"].items()}
    return SupervisordSection(**found, given=tuple(dict.fromkeys(given)))


def check_limits(reading: Reading, section: SupervisordSection) -> None:
    """Report limits that are too low, and that only root can raise."""
    for option, least, number, what, noun in (
        ("minfds", section.minfds, resource.RLIMIT_NOFILE, "number of file descriptors", "file descriptors"),
        ("minprocs", section.minprocs, resource.RLIMIT_NPROC, "number of available processes", "processes"),
    ):
        hard = resource.getrlimit(number)[1]
        if os.geteuid() != 0 and resource.RLIM_INFINITY != hard < least:
            line = reading.sections["supervisord"].options
            text = (
                f"The minimum {what} required to run this process is {least} as per the "
                f'"{option}" command-line argument or config file setting. The current environment will only allow you '
                f"to open {hard} {noun}.  Either raise the number of usable {noun} in your environment (see "
                f"README.rst) or lower the {option} setting in the config file to allow the process to start."
            )
            reading.error(text, line[option].line if option in line else 0, at_run_time=True)


def check_user(reading: Reading, user: str | None) -> None:
    """Report a user of [supervisord] that there is not, or that this process cannot become."""
    if user is None:
        return
    section = reading.sections["supervisord"]
    line = section.options["user"].line if "user" in section.options else section.line
    try:
        if to.user_id(user) != os.geteuid() != 0:
            reading.error("Can't drop privilege as nonroot user", line, at_run_time=True)
    except ValueError as error:
        reading.error(str(error), line)


def _environment(reading: Reading, options: Options) -> dict[str, str]:
    """[supervisord] environment, which is expanded twice, as by supervisord."""
    names = {"here": reading.here, "host_node_name": reading.node_name, **reading.variables}
    return options.get("environment", "", to.variables, lambda text: to.expand(text, names, "environment"))


def _typed_options(reading: Reading, typed: Mapping[str, Any]) -> dict[str, Any]:
    """The options of the command line. Their errors have no line."""
    found: dict[str, Any] = {name: True for name in _FLAGS if typed.get(name)}
    for name, convert in _TYPED.items():
        if typed.get(name) is None:
            continue
        try:
            found[name] = convert(typed[name])
        except ValueError as error:
            reading.error(f"invalid value for --{name} {typed[name]!r}: {error}")
    return found


def read_rpcinterfaces(reading: Reading) -> tuple[RpcInterfaceSection, ...]:
    """Every [rpcinterface:x]."""
    found = []
    for name in reading.section_names:
        if name.startswith("rpcinterface:"):
            options = reading.options(name)
            options.names = {}
            factory = options.get_or_none(_FACTORY, text_of)
            if factory is None:
                if not options.failed:
                    options.report(f"section [{name}] does not specify a {_FACTORY}")
                continue
            others = [other for other in reading.sections[name].options if other != _FACTORY]
            values = {other: options.get_or_none(other, text_of) or "" for other in others}
            found.append(RpcInterfaceSection(name.partition(":")[2], factory, values))
            if factory != MAIN_FACTORY:
                reading.ignored.append(f"[{name}], a plug-in")
    return tuple(found)


def read_servers(reading: Reading) -> tuple[ServerSection, ...]:
    """Every [inet_http_server], then every [unix_http_server]; each name may have a suffix."""
    names = reading.section_names
    inet = [_inet_server(reading.options(one)) for one in names if one.startswith("inet_http_server")]
    unix = [_unix_server(reading.options(one)) for one in names if one.startswith("unix_http_server")]
    return tuple(one for one in (*inet, *unix) if one is not None)


def _server_name(section: str) -> str | None:
    _, colon, name = section.partition(":")
    return name if colon else None


def _access(options: Options) -> tuple[str | None, str | None]:
    """User name and password: both or none."""
    username, password = options.get_or_none("username", text_of), options.get_or_none("password", text_of)
    if (username is None) != (password is None) and not options.failed:
        why = "If a username or a password is specified, both the username and password must be specified"
        options.report(f"Section [{options.section}] contains incomplete authentication: {why}", "username")
    return username, password


def _inet_server(options: Options) -> ServerSection | None:
    options.names = {}
    username, password = _access(options)
    if options.node("port") is None:
        options.report(f"section [{options.section}] has no port value")
        return None
    address = options.get_or_none("port", to.inet_address)
    if address is None:
        return None
    host, port = address
    name = _server_name(options.section)
    return ServerSection(options.section, name, "inet", host=host, port=port, username=username, password=password)


def _unix_server(options: Options) -> ServerSection | None:
    if options.node("file") is None:
        options.report(f"section [{options.section}] has no file value")
        return None
    file = options.get_or_none("file", lambda text: to.normal_path(text.strip()))
    options.names = {}
    username, password = _access(options)
    chown = options.get_or_none("chown", worded(to.owner, "Invalid sockchown value"))
    chmod = options.get_or_none("chmod", worded(to.octal, "Invalid chmod value"))
    return ServerSection(
        options.section,
        _server_name(options.section),
        "unix",
        file=file or "",
        chmod=0o700 if chmod is None else chmod,
        chown=chown or (-1, -1),
        username=username,
        password=password,
    )


def server_url(servers: tuple[ServerSection, ...]) -> str:
    """The value of SUPERVISOR_SERVER_URL: that of a unix socket if there is one; "" without servers."""
    for server in servers:
        if server.family == "unix":
            return f"unix://{server.file}"
    return next((f"http://{server.host or 'localhost'}:{server.port}" for server in servers), "")


def read_supervisorctl(reading: Reading) -> CtlSection | None:
    """[supervisorctl], which supervisord itself does not read: its mistakes are not errors here."""
    if "supervisorctl" not in reading.sections:
        return None
    options = reading.options("supervisorctl")
    found: dict[str, str] = {}
    for name in ("serverurl", "username", "password", "prompt", "history_file"):
        node = options.node(name)
        if node is not None:
            try:
                found[name] = options.expanded(node.text, name)
            except ValueError:
                found[name] = node.text
    return CtlSection(**found)
