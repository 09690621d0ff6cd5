"""Plan, Service and their parts: frozen records, validated, with all defaults filled in.

Process 1 uses these records as its configuration, so this module imports only plan/record.py. Names are Compose's
(compose-spec 05-services.md), and ECS's for `essential`. Durations are in seconds, signals are numbers.
"""

from __future__ import annotations

from cohabit.plan.record import Record

# Compose's three conditions of depends_on.
STARTED = "service_started"
HEALTHY = "service_healthy"
COMPLETED = "service_completed_successfully"
CONDITIONS = (STARTED, HEALTHY, COMPLETED)

OWN_NAME = "cohabit"  # of our own messages in the output: no service can have it
# SGR parameters (ECMA-48) of the names in front of lines, in the order of the services.
PREFIX_COLOURS = ("36", "33", "32", "35", "34", "96", "93", "92", "95", "94")
# What the driver prefix writes before a line: the name, its colour on a terminal, the time.
NAME, COLOUR, TIME = "name", "colour", "time"

SIGTERM = 15
STOP_GRACE_SECONDS = 10.0  # Compose's default for one service
TOTAL_GRACE_SECONDS = 9.0  # for all services together: within the 10 s of `docker stop`

# kill_mode, as KillMode= of systemd.kill(5): the stop signal goes to the main process, or to all processes of it.
# SIGKILL, and the SIGTERM once the main process has ended, go to all in both modes.
MIXED, CONTROL_GROUP = "mixed", "control-group"

# healthcheck.on_failure: what an unhealthy service causes (Kubernetes' liveness restarts; Docker does nothing).
NONE, RESTART, EXIT = "none", "restart", "exit"


class Dependency(Record):
    """One entry of depends_on: `service` must have reached `condition` before the owner starts.

    required: if False, the dependency is left out of the Plan when its service is not in it, and its failure does not
    prevent the start. restart: a restart on request, or by a reload, restarts the owner too; a crash does not.
    """

    service: str
    condition: str = STARTED
    required: bool = True
    restart: bool = False


class Restart(Record):
    """The restart policy of a service.

    condition: "no", "on-failure" (an exit code that is not expected) or "always".
    expected_codes: exit codes that are no failure (supervisord's exitcodes).
    attempts: the maximum of restarts in a row, None for no limit. A run of at least window_seconds resets the count.
    delay_seconds: a fixed delay; None for Docker's back-off (100 ms, doubled each time, at most 60 s).
    """

    condition: str = "no"
    attempts: int | None = None
    delay_seconds: float | None = None
    window_seconds: float = 10.0
    expected_codes: tuple[int, ...] = (0,)


class Startup(Record):
    """When a run counts as started (supervisord's startsecs and startretries).

    Its state is STARTING for its first `seconds`. A run that ends before is a failed start, whatever its exit code: it
    is repeated `retries` times, after 1, 2, 3… seconds, whatever the restart policy; then the service is FATAL. A run
    that counts as started resets the counts, so `attempts` and `window_seconds` of its restart policy have no effect.
    """

    seconds: float = 1.0
    retries: int = 3


class Credentials(Record):
    """The user and groups of a service: ids for the kernel, name and home directory for the environment."""

    uid: int
    gid: int
    groups: tuple[int, ...] = ()
    name: str = ""
    home: str = ""


class Limits(Record):
    """Kernel limits and attributes of a service's processes; None leaves a value unchanged.

    ulimits: (resource number of setrlimit(2), soft, hard), -1 for unlimited. cap_drop: numbers of capabilities(7)
    that are removed from all capability sets, the bounding set included. ambient: (name, number) of the capabilities
    that its processes have although they run as another user than root; processes that they start inherit them.
    """

    ulimits: tuple[tuple[int, int, int], ...] = ()
    oom_score_adj: int | None = None
    nice: int | None = None
    umask: int | None = None
    cap_drop: tuple[int, ...] = ()
    ambient: tuple[tuple[str, int], ...] = ()
    no_new_privileges: bool = False


class Probe(Record):
    """The health check of a service (docs/reference/health.md). engine/health.py has the timing rules.

    kind: "tcp" (host, port), "http" (also path, headers, statuses; or `socket`, the path of a unix socket), "unix"
    (socket), "exec" (command), "log" (pattern), "notify", "fd" (fd). The last three are passive: the service reports.
    headers: (name, value). statuses: inclusive ranges of status codes that pass. pattern: a regular expression.
    on_failure: "none", "restart" or "exit". watchdog_seconds: for "notify"; 0 for no watchdog.
    """

    kind: str
    host: str = ""
    port: int = 0
    path: str = "/"
    socket: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    statuses: tuple[tuple[int, int], ...] = ((200, 399),)
    command: tuple[str, ...] = ()
    pattern: str = ""
    fd: int = 0
    interval_seconds: float = 30.0
    timeout_seconds: float = 30.0
    retries: int = 3
    start_period_seconds: float = 0.0
    start_interval_seconds: float = 0.1
    on_failure: str = NONE
    watchdog_seconds: float = 0.0


# Kinds of probe that do not run: the service reports its readiness itself.
PASSIVE_PROBES = frozenset({"log", "notify", "fd"})

# Kinds of conditions, as the Condition… of systemd.unit(5).
ENVIRONMENT, PATH_EXISTS, FILE_NOT_EMPTY = "environment", "path_exists", "file_not_empty"
DIRECTORY_NOT_EMPTY, FILE_IS_EXECUTABLE = "directory_not_empty", "file_is_executable"


class Condition(Record):
    """One condition of a service. negated: it holds if the opposite is the case.

    text: an absolute path; for the kind "environment" `NAME` (set and not empty) or `NAME=value`.
    """

    kind: str
    text: str
    negated: bool = False


PRE_START, POST_START, PRE_STOP, POST_STOP = "pre_start", "post_start", "pre_stop", "post_stop"
HOOK_STAGES = (PRE_START, POST_START, PRE_STOP, POST_STOP)


class EnvFile(Record):
    """A file of variables that is read at each start of the command. raw: its values are literal."""

    path: str
    required: bool = True
    raw: bool = False


class Hook(Record):
    """A command at one stage of a service (Compose's lifecycle hooks, and post_stop). user: None for the service's."""

    command: tuple[str, ...]
    environment: dict[str, str | None] = {}  # noqa: RUF012 - each record gets a copy
    working_dir: str | None = None
    user: Credentials | None = None


class Socket(Record):
    """A socket that cohabit opens, passes to the service and keeps open across restarts (systemd.socket(5)).

    name: its name in LISTEN_FDNAMES. family: "inet", "inet6" or "unix". kind: "stream" or "dgram".
    address: an IP address or a path. The family "pair" (address: the service) is one of two connected sockets: over the
    other one, cohabit passes it the standard input and output of services with `stdio_to`.
    """

    name: str
    family: str
    kind: str
    address: str
    port: int = 0
    backlog: int = 4096
    mode: int | None = None
    uid: int | None = None
    gid: int | None = None


GRANTED = ("secrets", "configs")  # the fields of Service whose texts are mounted as files


class Secret(Record):
    """The source of a secret or config: Compose's top-level entry. Never the text of a secret itself.

    One of these is set. file: a path. environment: a variable of the container. content: the text of a config.
    external: the platform puts the file in place.
    """

    file: str = ""
    environment: str = ""
    content: str | None = None
    external: bool = False


class FileMount(Record):
    """A secret or config of a service: the file `target` with the text of `source`.

    uid, gid, mode: of that file; None for the default (docs/howto/secrets.md).
    """

    source: str
    target: str
    uid: int | None = None
    gid: int | None = None
    mode: int | None = None


class Schedule(Record):
    """When a job runs. cron: the five fields of crontab(5). zone: a time zone, "" for that of the container."""

    cron: str
    zone: str = ""


class LogFile(Record):
    """A file that a service writes and whose lines are output of the service. stream: "stdout" or "stderr"."""

    path: str
    stream: str = "stdout"


REBUILD, SYNC, SYNC_RESTART, SYNC_EXEC = "rebuild", "sync", "sync+restart", "sync+exec"  # actions, besides RESTART


class Watch(Record):
    """One rule of develop.watch. action: "rebuild", "sync", "restart", "sync+restart" or "sync+exec".

    path: absolute. target: where the engine puts it in the container, "" if that is not written. ignore, include:
    patterns of .dockerignore, relative to the path. command: what "sync+exec" runs.
    """

    action: str
    path: str
    target: str = ""
    ignore: tuple[str, ...] = ()
    include: tuple[str, ...] = ()
    command: Hook | None = None
    initial_sync: bool = False

    @property
    def watched(self) -> str:
        """The path whose changes restart the service; "" for an action that does not."""
        return {RESTART: self.path, SYNC_RESTART: self.target or self.path}.get(self.action, "")


LOG_BUFFER_BYTES = 1_048_576  # Docker's max-buffer-size
FILE_BYTES_MAX, FILES_MAX = 20 * 1_048_576, 5  # max-size and max-file of Docker's driver "local"
FACILITY_DAEMON = 3  # syslog(3)


class Logging(Record):
    """One destination of a service's output: an entry of Compose's logging (docs/reference/logs.md).

    driver: "prefix", "json", "logfmt", "raw" and "inherit" write to the container's stdout and stderr; "file",
    "syslog"; "none" discards.
    blocking: the service waits while the destination does not accept data. If False, up to buffer_bytes are kept, and
    further output is dropped and counted.
    format: of lines in a file ("raw", "prefix", "json", "logfmt") or to syslog ("rfc5424", "rfc3164").
    bytes_max: a file is rotated before it exceeds this size, 0 for never. files_max: rotated files and the current one.
    address: "unix:///dev/log", "udp://host:514" or "tcp://host:514". facility: a number of syslog(3).
    tag: replaces the service's name, "" for that name. before: what "prefix" writes before each line.
    stream: the only stream that it gets, "stdout" or "stderr"; "" for both. output: where the drivers of the
    container's streams write, "stdout" or "stderr"; "" for the stream of the same name.
    """

    driver: str = "prefix"
    blocking: bool = True
    buffer_bytes: int = LOG_BUFFER_BYTES
    format: str = "raw"
    path: str = ""
    bytes_max: int = FILE_BYTES_MAX
    files_max: int = FILES_MAX
    compress: bool = False
    address: str = ""
    facility: int = FACILITY_DAEMON
    tag: str = ""
    before: tuple[str, ...] = (NAME, COLOUR)
    stream: str = ""
    output: str = ""


# The driver and the format of cohabit's own messages as supervisord's main log.
MAIN_LOG = "main-log"

# Drivers whose output cohabit does not see: it is not in `logs`, and probes and copies do not get it.
UNSEEN = frozenset({"inherit"})


class Service(Record):
    """One service, or one of its replicas: its command and how it is supervised.

    name: of this instance ("web", or "web-2"). service: its key in the file. replica: its number, 0 without replicas.
    environment: additions to the environment of the container; a value of None removes a variable.
    env_files: read at each start of its command; `environment` overrides them.
    essential: its failure for good ends the container; ends_on_success: its success does so, too (ECS's `essential`).
    job: it is expected to end, because another service waits for its completion or it has a schedule.
    secret_files: variable -> file whose text becomes its value at the start (X_FILE).
    logging: the destinations of its output, at least one.
    multiline_pattern: a regular expression for the first line of a record, "" if each line is a record.
    log_files: files that it writes, whose new lines are part of its output.
    pid_file: the file in which a daemon writes its pid. stale_files: paths that are removed before each start.
    conditions: at each start all of them must hold; otherwise it is skipped, which is not a failure.
    watch: the rules of develop.watch, which have an effect if the Plan watches.
    autostart: it starts with the others. setsid: its main process leads a session of its own.
    tty, stdin: it has a terminal, or a standard input that does not end. console: these are the container's own, if the
    container has them.
    """

    name: str
    command: tuple[str, ...]
    environment: dict[str, str | None] = {}  # noqa: RUF012 - each record gets a copy
    env_files: tuple[EnvFile, ...] = ()
    working_dir: str | None = None
    user: Credentials | None = None
    depends_on: tuple[Dependency, ...] = ()
    conditions: tuple[Condition, ...] = ()
    restart: Restart = Restart()
    stop_signal: int = SIGTERM
    stop_grace_seconds: float = STOP_GRACE_SECONDS
    kill_mode: str = MIXED
    autostart: bool = True
    essential: bool = True
    ends_on_success: bool = True
    job: bool = False
    probe: Probe | None = None
    logging: tuple[Logging, ...] = (Logging(),)
    multiline_pattern: str = ""
    log_files: tuple[LogFile, ...] = ()
    service: str = ""
    replica: int = 0
    secret_files: dict[str, str] = {}  # noqa: RUF012 - each record gets a copy
    limits: Limits = Limits()
    pre_start: tuple[Hook, ...] = ()
    post_start: tuple[Hook, ...] = ()
    pre_stop: tuple[Hook, ...] = ()
    post_stop: tuple[Hook, ...] = ()
    schedule: Schedule | None = None
    sockets: tuple[Socket, ...] = ()
    secrets: tuple[FileMount, ...] = ()
    configs: tuple[FileMount, ...] = ()
    pid_file: str = ""
    stale_files: tuple[str, ...] = ()
    watch: tuple[Watch, ...] = ()
    setsid: bool = True
    tty: bool = False
    stdin: bool = False
    console: bool = False
    startup: Startup | None = None
    priority: int = 0
    stderr_to_stdout: bool = False
    socket_as_stdin: bool = False
    stdio_to: str = ""

    def hooks(self, stage: str) -> tuple[Hook, ...]:
        """The hooks of a stage (one of HOOK_STAGES), in order."""
        found: tuple[Hook, ...] = getattr(self, stage)
        return found

    def secret_paths(self) -> tuple[str, ...]:
        """The files whose texts are secret: those of X_FILE variables, and the targets of its secrets."""
        return (*self.secret_files.values(), *(grant.target for grant in self.secrets))


class Plan(Record):
    """All services in the order of the file, each replica as a service of its own, and container-wide settings.

    stop_grace_seconds: the total time for the stop. control_gid: a group whose members may use the control socket, as
    root and the user of cohabit may. logging: the default of the services, and that of cohabit itself.
    mask: secrets are replaced in all output. main: the service that gets the signals which process 1 does not use
    itself, or "". reloads: HUP reads a file again; otherwise it goes to main, too. inactive: services
    of the file that do not take part: their profiles are not active, or others were named. exit_code_from: the service
    whose exit code is that of the container, or "" for that of the service that ended it. joined: services that take
    part only because one that was started or scaled by name depends on them. watches: the rules of develop.watch have
    an effect (`up --watch`). stays: the container does not end when no service is left (supervisord). beside: services
    that do not count for that: event listeners, and the gateway.
    """

    services: dict[str, Service]
    stop_grace_seconds: float = TOTAL_GRACE_SECONDS
    secrets: dict[str, Secret] = {}  # noqa: RUF012 - each record gets a copy
    configs: dict[str, Secret] = {}  # noqa: RUF012 - same
    control_gid: int | None = None
    logging: tuple[Logging, ...] = (Logging(),)
    mask: bool = False
    main: str = ""
    reloads: bool = True
    inactive: tuple[str, ...] = ()
    exit_code_from: str = ""
    joined: tuple[str, ...] = ()
    watches: bool = False
    stays: bool = False
    beside: tuple[str, ...] = ()

    @property
    def main_log(self) -> bool:
        """Whether cohabit's own messages are the main log of supervisord."""
        return any(MAIN_LOG in (entry.driver, entry.format) for entry in self.logging)
