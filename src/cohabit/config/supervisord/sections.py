"""The sections of a supervisord.conf as records: every option of supervisord 4.3 with its value or default.

The names of fields are those of the options. A path of a log file is AUTO, NONE ("") or a path. What has no value is
None, as with supervisord, or "" for a text.
"""

from __future__ import annotations

from cohabit.config.supervisord.conversions import AUTO, RESTART_UNEXPECTED
from cohabit.plan.record import Record

PROGRAM, FCGI, LISTENER = "program", "fcgi-program", "eventlistener"
LOG_BYTES = 50 << 20
LOG_BACKUPS = 10
MAIN_FACTORY = "supervisor.rpcinterface:make_main_rpcinterface"
RESULT_HANDLER = "supervisor.dispatchers:default_handler"


class SupervisordSection(Record):
    """[supervisord], with the options of the command line. given: the options that are written, or on that line."""

    logfile: str
    pidfile: str
    childlogdir: str
    logfile_maxbytes: int = LOG_BYTES
    logfile_backups: int = LOG_BACKUPS
    loglevel: str = "info"
    umask: int = 0o022
    directory: str | None = None
    nodaemon: bool = False
    silent: bool = False
    minfds: int = 1024
    minprocs: int = 200
    nocleanup: bool = False
    user: str | None = None
    strip_ansi: bool = False
    environment: dict[str, str] = {}  # noqa: RUF012 - each record gets a copy
    identifier: str = "supervisor"
    given: tuple[str, ...] = ()


class StreamLog(Record):
    """The log options of one stream of a process: stdout_… or stderr_…."""

    logfile: str = AUTO
    logfile_maxbytes: int = LOG_BYTES
    logfile_backups: int = LOG_BACKUPS
    capture_maxbytes: int = 0
    events_enabled: bool = False
    syslog: bool = False


class ProcessEntry(Record):
    """One process of a program: numprocs of them come from one section.

    name: its process_name. section: "program:web". uid: None without `user`, whose text is `user`.
    environment: that of [supervisord], then its own.
    """

    name: str
    section: str
    command: str
    directory: str | None = None
    umask: int | None = None
    priority: int = 999
    autostart: bool = True
    autorestart: str = RESTART_UNEXPECTED
    startsecs: int = 1
    startretries: int = 3
    user: str | None = None
    uid: int | None = None
    stopsignal: int = 15
    stopwaitsecs: int = 10
    stopasgroup: bool = False
    killasgroup: bool = False
    exitcodes: tuple[int, ...] = (0,)
    redirect_stderr: bool = False
    environment: dict[str, str] = {}  # noqa: RUF012 - each record gets a copy
    serverurl: str | None = None
    stdout: StreamLog = StreamLog()
    stderr: StreamLog = StreamLog()


class FcgiSocket(Record):
    """The socket of an fcgi-program. path: of a unix socket; otherwise host and port. owner: user and group, if set."""

    url: str
    path: str = ""
    host: str = ""
    port: int = 0
    backlog: int | None = None
    mode: int | None = None
    owner: tuple[int, int] | None = None


class EventPool(Record):
    """What only an event listener has."""

    events: tuple[str, ...]
    buffer_size: int = 10
    result_handler: str = RESULT_HANDLER


class GroupSection(Record):
    """One process group: of [group:x], or of a program that is in no group.

    kind: PROGRAM, FCGI or LISTENER; a [group:x] is a PROGRAM. sockets: by the section of the fcgi-program.
    """

    name: str
    kind: str
    section: str
    priority: int
    processes: tuple[ProcessEntry, ...] = ()
    pool: EventPool | None = None
    sockets: dict[str, FcgiSocket] = {}  # noqa: RUF012 - each record gets a copy


class ServerSection(Record):
    """[unix_http_server] (file, chmod, chown) or [inet_http_server] (host, "" for all interfaces, and port)."""

    section: str
    name: str | None
    family: str  # "unix" or "inet"
    file: str = ""
    chmod: int = 0o700
    chown: tuple[int, int] = (-1, -1)
    host: str = ""
    port: int = 0
    username: str | None = None
    password: str | None = None


class RpcInterfaceSection(Record):
    """[rpcinterface:x]: a factory "module:function" and its options."""

    name: str
    factory: str
    options: dict[str, str] = {}  # noqa: RUF012 - each record gets a copy


class CtlSection(Record):
    """[supervisorctl]."""

    serverurl: str = "http://localhost:9001"
    username: str | None = None
    password: str | None = None
    prompt: str = "supervisor"
    history_file: str | None = None


class Conf(Record):
    """A whole supervisord.conf with its included files. groups: in the order of their start.

    serverurl: of the first server, "" without one. files: all that were read.
    """

    supervisord: SupervisordSection
    groups: tuple[GroupSection, ...] = ()
    servers: tuple[ServerSection, ...] = ()
    rpcinterfaces: tuple[RpcInterfaceSection, ...] = ()
    supervisorctl: CtlSection | None = None
    serverurl: str = ""
    files: tuple[str, ...] = ()
