"""The nouns: Plan, Service and their parts, frozen and checked, with every default filled in.

Process 1 runs on these and nothing else, so this module imports nothing but records. Words are Compose's
(compose-spec 05-services.md), ECS's for `essential`; durations are seconds, signals are numbers.
"""

from __future__ import annotations

from cohabit.plan.record import Record

# Compose's three conditions of depends_on, word for word.
STARTED = "service_started"
HEALTHY = "service_healthy"
COMPLETED = "service_completed_successfully"
CONDITIONS = (STARTED, HEALTHY, COMPLETED)

SIGTERM = 15
STOP_GRACE_SECONDS = 10.0  # Compose's default for one service
TOTAL_GRACE_SECONDS = 9.0  # for everything together: inside the 10 s of `docker stop`


# Why a service is acted on when its probe says that it is not well (Kubernetes' liveness; Docker's is "none").
NONE, RESTART, EXIT = "none", "restart", "exit"


class Dependency(Record):
    """One entry of depends_on: `service` must have reached `condition` before the owner starts.

    A dependency that is not required is left out of the Plan when its service is not in it. restart: the owner
    is restarted with it, when somebody restarts it (not when it crashed).
    """

    service: str
    condition: str = STARTED
    required: bool = True
    restart: bool = False


class Restart(Record):
    """When a service is started again after its end, and how soon.

    condition: "no", "on-failure" (a code other than 0) or "always". attempts: how many restarts in a row
    at the most, None for no end; a run that lasted `window_seconds` forgives all before it.
    delay_seconds: a fixed pause; None for Docker's back-off (100 ms, doubling, to 60 s).
    """

    condition: str = "no"
    attempts: int | None = None
    delay_seconds: float | None = None
    window_seconds: float = 10.0


class Credentials(Record):
    """Who a service runs as: numbers for the kernel, a name and a home for the environment."""

    uid: int
    gid: int
    groups: tuple[int, ...] = ()
    name: str = ""
    home: str = ""


class Limits(Record):
    """What the kernel shall hold against a service's processes; None leaves as it is.

    ulimits: (resource of setrlimit(2) as a number, soft, hard), -1 for unlimited. cap_drop: numbers of
    capabilities(7) that are taken from the bounding set and every other.
    """

    ulimits: tuple[tuple[int, int, int], ...] = ()
    oom_score_adj: int | None = None
    nice: int | None = None
    umask: int | None = None
    cap_drop: tuple[int, ...] = ()
    no_new_privileges: bool = False


class Probe(Record):
    """How to learn whether a service is well: what to ask, and when (docs/reference/health.md).

    kind: "tcp" (host, port), "http" (and path, headers, statuses; or `socket`, the path of a unix socket), "unix"
    (socket), "exec" (command), "log" (pattern), "notify", "fd" (fd). The last three are never asked: they tell.
    headers: (name, value). statuses: the inclusive ranges of codes that pass. pattern: a regular expression.
    Times as Docker's: a failure counts once per interval and not in the start period; `retries` in a row make it
    unhealthy; until the first success it is asked every start_interval. on_failure: "none", "restart", "exit".
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


# Kinds of probe that are not asked: the service tells by itself.
PASSIVE_PROBES = frozenset({"log", "notify", "fd"})

PRE_START, POST_START, PRE_STOP = "pre_start", "post_start", "pre_stop"


class Hook(Record):
    """A command at one moment of a service's life (Compose's lifecycle hooks); user None: the service's."""

    command: tuple[str, ...]
    environment: dict[str, str | None] = {}  # noqa: RUF012 - a record's default is never changed
    working_dir: str | None = None
    user: Credentials | None = None


class Socket(Record):
    """A socket that we open and keep through restarts (systemd.socket(5)).

    family: "inet", "inet6" or "unix"; kind: "stream" or "dgram". address: an IP address or a path. name: what
    LISTEN_FDNAMES says.
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


GRANTED = ("secrets", "configs")  # the two kinds of texts that a service is handed as files


class Secret(Record):
    """Where the text of a secret or a config comes from, one of them: Compose's top-level entry. Never the text itself.

    file: a path; environment: a variable of the container's; content: a config's text as the file has it;
    external: somebody else puts it there.
    """

    file: str = ""
    environment: str = ""
    content: str | None = None
    external: bool = False


class FileMount(Record):
    """A secret or config that a service is handed: the file `target` with the text of `source`.

    uid, gid, mode: of that file; None for what belongs to its kind (docs/howto/secrets.md).
    """

    source: str
    target: str
    uid: int | None = None
    gid: int | None = None
    mode: int | None = None


class Schedule(Record):
    """When a job runs: five fields of crontab(5), and the name of a time zone ("" for the container's own)."""

    cron: str
    zone: str = ""


LOG_BUFFER_BYTES = 1_048_576  # Docker's max-buffer-size
FILE_BYTES_MAX, FILES_MAX = 20 * 1_048_576, 5  # max-size and max-file of Docker's driver "local"
FACILITY_DAEMON = 3  # syslog(3)


class Logging(Record):
    """One way that a service's output takes: an entry of Compose's logging (docs/reference/logs.md).

    driver: "prefix", "json", "logfmt", "raw" and "inherit" go to the container's own stdout and stderr; "file",
    "syslog"; "none" is nowhere. blocking: while it takes nothing the service waits; else up to buffer_bytes are kept,
    and what comes then is dropped and counted. format: how lines are written into a file ("raw", "prefix", "json",
    "logfmt") or to syslog ("rfc5424", "rfc3164"). bytes_max: a file is renamed before it grows beyond (0: never), so
    that there are files_max of them. address: "unix:///dev/log", "udp://host:514", "tcp://host:514"; facility: a
    number of syslog(3); tag: what stands for the service's name ("": that).
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


# Drivers whose lines we see as they pass; of the others neither memory nor probe nor copy has any.
UNSEEN = frozenset({"inherit"})


class Service(Record):
    """One service, or one of its replicas: a command and the rules of its life.

    name: of this instance ("web", or "web-2"); service: the key in the file, replica: its number, 0 where the
    service has no replicas. environment: what is added to the container's own; a value of None removes the
    variable. job: it is expected to end (somebody waits for that, or it has a schedule). secret_files: variable ->
    file whose text it gets at the start (X_FILE). logging: where its output goes, at least one entry;
    multiline_pattern: the regular expression that the first line of each record matches, "" where every line is one.
    pid_file: where a daemon writes who it is. tty, stdin: it gets the container's own terminal, standard input.
    """

    name: str
    command: tuple[str, ...]
    environment: dict[str, str | None] = {}  # noqa: RUF012 - a record's default is never changed
    working_dir: str | None = None
    user: Credentials | None = None
    depends_on: tuple[Dependency, ...] = ()
    restart: Restart = Restart()
    stop_signal: int = SIGTERM
    stop_grace_seconds: float = STOP_GRACE_SECONDS
    essential: bool = True
    job: bool = False
    probe: Probe | None = None
    logging: tuple[Logging, ...] = (Logging(),)
    multiline_pattern: str = ""
    service: str = ""
    replica: int = 0
    secret_files: dict[str, str] = {}  # noqa: RUF012 - a record's default is never changed
    limits: Limits = Limits()
    pre_start: tuple[Hook, ...] = ()
    post_start: tuple[Hook, ...] = ()
    pre_stop: tuple[Hook, ...] = ()
    schedule: Schedule | None = None
    sockets: tuple[Socket, ...] = ()
    secrets: tuple[FileMount, ...] = ()
    configs: tuple[FileMount, ...] = ()
    pid_file: str = ""
    tty: bool = False
    stdin: bool = False

    def hooks(self, stage: str) -> tuple[Hook, ...]:
        """The hooks of PRE_START, POST_START or PRE_STOP, in their order."""
        found: tuple[Hook, ...] = getattr(self, stage)
        return found

    def secret_paths(self) -> tuple[str, ...]:
        """The files whose texts are secret: those of X_FILE, and those that it is handed as secrets."""
        return (*self.secret_files.values(), *(grant.target for grant in self.secrets))


class Plan(Record):
    """Everything that shall run, in the order in which it was written, replicas as services of their own.

    control_gid: a group whose members may talk to us, beside root and our own user. logging: of services that have none
    of their own, and of ourselves. mask: texts of secrets are hidden in all output.
    """

    services: dict[str, Service]
    stop_grace_seconds: float = TOTAL_GRACE_SECONDS
    secrets: dict[str, Secret] = {}  # noqa: RUF012 - a record's default is never changed
    configs: dict[str, Secret] = {}  # noqa: RUF012 - same
    control_gid: int | None = None
    logging: tuple[Logging, ...] = (Logging(),)
    mask: bool = False
