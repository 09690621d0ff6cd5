"""The tables of keys: every key of a cohabit file with its type and its description.

table.py has their form. convert.py converts a file along them, and a test compares docs/reference/file.md with the
descriptions.
"""

from typing import Annotated, ClassVar, Literal, Self, TypeAlias

from cohabit.config.keys.conditions import ConditionKeys
from cohabit.config.keys.other_files import ExtendsKeys, IncludeKeys
from cohabit.config.keys.resources import (
    ConfigKeys,
    FileMountKeys,
    Nice,
    OomScoreAdj,
    SecretKeys,
    SocketKeys,
    UlimitKeys,
    Umask,
    whole,
)
from cohabit.config.keys.table import Keys
from cohabit.nearest import did_you_mean
from cohabit.plan.node import Node
from cohabit.units import parse_duration, parse_signal

_LONGEST_SECONDS = 100 * 365 * 86400.0  # within the range of the kernel's timers
_LONGEST_COUNT = 9  # digits
_MOST_REPLICAS = 1000
_POLICIES = ("no", "always", "on-failure", "unless-stopped")
_IGNORED_IN_SERVICE = """
    annotations attach blkio_config build cgroup cgroup_parent container_name cpu_count cpu_percent
    cpu_period cpu_quota cpu_rt_period cpu_rt_runtime cpu_shares cpus cpuset credential_spec
    device_cgroup_rules devices dns dns_opt dns_search domainname expose external_links extra_hosts gpus
    hostname image init ipc isolation label_file labels links mac_address mem_limit mem_reservation
    mem_swappiness memswap_limit models network_mode networks oom_kill_disable pid pids_limit platform ports
    privileged provider pull_policy pull_refresh_after read_only runtime shm_size storage_opt
    sysctls tmpfs use_api_socket userns_mode uts volumes volumes_from
"""


class Seconds(float):
    """A Compose duration."""

    expected: ClassVar[str] = "a duration such as 10s or 1m30s"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Seconds of "1m30s", rounded to nanoseconds. ValueError: not a duration, or longer than 100 years."""
        seconds = parse_duration(text)
        if seconds > _LONGEST_SECONDS:
            raise ValueError(f"{text[:40]!r} is longer than 100 years")
        return cls(round(seconds, 9))


class Signal(int):
    """A signal's number."""

    expected: ClassVar[str] = "a signal such as SIGTERM"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Number of "SIGTERM", "TERM" or "15". ValueError: not a signal."""
        return cls(parse_signal(text))


class Count(int):
    """A number of times, 0 or more."""

    expected: ClassVar[str] = "a whole number of 0 or more"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Number of "3". ValueError: not a whole number, or more than 9 digits."""
        number = whole(text)
        if not (number.isascii() and number.isdecimal()) or len(number) > _LONGEST_COUNT:
            raise ValueError(f"expected {cls.expected}, got {text[:40]!r}")
        return cls(number)


class Scale(int):
    """The number of instances of a service."""

    expected: ClassVar[str] = f"a whole number from 0 to {_MOST_REPLICAS}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Number of "3". ValueError: not a whole number from 0 to 1000."""
        number = whole(text)
        if (
            not (number.isascii() and number.isdecimal())
            or len(number) > _LONGEST_COUNT
            or int(number) > _MOST_REPLICAS
        ):
            raise ValueError(f"expected {cls.expected}, got {text[:40]!r}")
        return cls(number)


class Policy(str):
    """Compose's short form of the restart policy. attempts: N of on-failure:N, None for no limit."""

    __slots__ = ("attempts",)
    expected: ClassVar[str] = "no, always, on-failure[:N] or unless-stopped"
    attempts: int | None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Policy of "on-failure:3". ValueError: not a policy."""
        condition, colon, limit = text.partition(":")
        if condition not in _POLICIES or (colon and condition != "on-failure"):
            hint = "" if condition in _POLICIES else did_you_mean(condition, _POLICIES)
            raise ValueError(f"expected {cls.expected}, got {text[:40]!r}{hint}")
        policy = cls(condition)
        policy.attempts = (int(Count.parse(limit)) if colon else 0) or None  # 0 means unlimited, as in Docker
        return policy


CommandText: TypeAlias = str | list[str]
Condition: TypeAlias = Literal["service_started", "service_healthy", "service_completed_successfully"]


class DependsOnKeys(Keys):
    """One entry of depends_on in its long form."""

    condition: Annotated[Condition, "The state that the other service must reach first."]
    required: Annotated[
        bool,
        "`false`: no effect if the other service does not take part. Default `true`.",
    ] = True
    restart: Annotated[
        bool,
        (
            "`true`: this service is restarted when the other one is restarted on request (not after a "
            "crash). Default `false`."
        ),
    ] = False


class EnvFileKeys(Keys):
    """One entry of env_file in its long form."""

    path: Annotated[str, "Path of the file, relative to the directory of the cohabit file."]
    required: Annotated[bool, "`false`: the file may be missing. Default `true`."] = True
    format: Annotated[Literal["raw"] | None, "`raw`: values are literal, including quotes and `$`."] = None
    read: Annotated[
        Literal["start"] | None,
        (
            "`start`: all files of the service are read at each start of its command, for a file that another service "
            "or a hook writes. Default: once, with the cohabit file."
        ),
    ] = None


class HealthcheckKeys(Keys):
    """A service's healthcheck."""

    test: Annotated[CommandText | None, "The probe: one of the kinds below. A string means `CMD-SHELL`."] = None
    interval: Annotated[
        Seconds | None,
        (
            "Time between probes; before the first success at most one failure counts in it. Default "
            "`30s`. For `NOTIFY`, if written: the maximum time between two messages `WATCHDOG=1`."
        ),
    ] = None
    timeout: Annotated[
        Seconds | None,
        "Maximum duration of one probe. Default `30s` for a command, `5s` for `TCP`, `HTTP` and `UNIX`.",
    ] = None
    retries: Annotated[
        Count | None,
        "Consecutive failures after which the service is unhealthy. Default `3`; `0` means the default.",
    ] = None
    start_period: Annotated[Seconds | None, "Time after the start in which failures do not count. Default `0s`."] = None
    start_interval: Annotated[
        Seconds | None,
        "Time between probes until the first success. Default `100ms`, `500ms` for a command.",
    ] = None
    on_failure: Annotated[
        Literal["none", "restart", "exit"] | None,
        (
            "What happens when the service becomes unhealthy. `none`: nothing; `restart`: it is restarted, "
            "whatever its restart policy; `exit`: the container stops. Default `none`."
        ),
    ] = None
    disable: Annotated[bool, "`true`: the same as `test: NONE`."] = False


class HookKeys(Keys):
    """One entry of pre_start, post_start, pre_stop or post_stop."""

    ignored: ClassVar[frozenset[str]] = frozenset({"per_replica", "privileged"})

    command: Annotated[CommandText, "The program and its arguments, as in a service."]
    user: Annotated[str | None, "User that it runs as. Default: the service's user."] = None
    working_dir: Annotated[str | None, "Working directory. Default: the service's."] = None
    environment: Annotated[
        dict[str, str | None] | list[str] | None,
        "Variables, as a map or a list, in addition to the service's.",
    ] = None
    image: Annotated[str | None, "Ignored with a warning: a hook runs in this container."] = None


class LogFileKeys(Keys):
    """An entry of log_files in its long form."""

    path: Annotated[str, "Absolute path of the file. It need not exist yet."]
    stream: Annotated[Literal["stdout", "stderr"] | None, "The stream that its lines belong to. Default `stdout`."] = (
        None
    )


class ScheduleKeys(Keys):
    """A service's schedule in its long form."""

    cron: Annotated[str, "The five fields, or `@hourly`, `@daily`, `@weekly`, `@monthly`, `@yearly`."]
    timezone: Annotated[str | None, "A time zone such as `Europe/Berlin`. Default: the container's."] = None


class RestartPolicyKeys(Keys):
    """deploy.restart_policy."""

    condition: Annotated[
        Literal["none", "on-failure", "any", "no", "always", "unless-stopped"],
        "Which exits cause a restart: `any`, `on-failure` or `none`, or a word of `restart`. Default `any`.",
    ] = "any"
    delay: Annotated[
        Seconds | None,
        "A fixed delay before each restart. Default: Docker's back-off, 100 ms doubling to 60 s.",
    ] = None
    max_attempts: Annotated[Count | None, "Maximum number of consecutive restarts. Default: no limit."] = None
    window: Annotated[
        Seconds | None,
        "A run of this duration resets the count of restarts; `0s`: it is never reset. Default `10s`.",
    ] = None


class DeployKeys(Keys):
    """A service's deploy."""

    ignored: ClassVar[frozenset[str]] = frozenset(
        {"endpoint_mode", "labels", "mode", "placement", "resources", "rollback_config", "update_config"}
    )

    replicas: Annotated[Scale | None, "The same as `scale`."] = None
    restart_policy: Annotated[RestartPolicyKeys | None, "The long form of `restart`, which it overrides."] = None


class ServiceKeys(Keys):
    """One service."""

    ignored: ClassVar[frozenset[str]] = frozenset(_IGNORED_IN_SERVICE.split())

    extends: Annotated[
        str | ExtendsKeys | None,
        "Another service, whose keys it takes and its own override, as those of a second file do.",
    ] = None
    command: Annotated[
        CommandText | None,
        ("The program and its arguments: a list, or a string that is split as in a shell. No shell is started."),
    ] = None
    entrypoint: Annotated[CommandText | None, "Arguments that precede those of `command`."] = None
    environment: Annotated[
        dict[str, str | None] | list[str] | None,
        (
            "Variables, as a map or a list of `NAME=value`; a name without a value takes the container's. "
            "They override those of `env_file`; both override the container's."
        ),
    ] = None
    env_file: Annotated[
        str | list[str | EnvFileKeys] | None,
        ("Files of variables, relative to the directory of the cohabit file. Later files override earlier ones."),
    ] = None
    path_variables: Annotated[
        list[str] | None,
        (
            "Variables such as `TLS_KEY_FILE` that the service gets as they are, with the path, although the path "
            "is that of a secret or config."
        ),
    ] = None
    working_dir: Annotated[str | None, "Working directory. Default: that of cohabit."] = None
    user: Annotated[
        str | None,
        "User that it runs as: `name`, `uid`, `name:group` or `uid:gid`. Default: the user of cohabit.",
    ] = None
    group_add: Annotated[list[str] | None, "Supplementary groups, by name or number."] = None
    umask: Annotated[
        Umask | None,
        "Permissions that are removed from its new files, octal: `022`. Default: cohabit's.",
    ] = None
    ulimits: Annotated[
        dict[str, str | UlimitKeys] | None,
        "Resource limits: `nofile: 1024` for both, or `soft` and `hard`; `-1` for unlimited.",
    ] = None
    nice: Annotated[
        Nice | None,
        "Nice value from `-20` to `19`; a larger value gets less CPU time. Default: that of cohabit.",
    ] = None
    oom_score_adj: Annotated[
        OomScoreAdj | None,
        "From `-1000` to `1000`; a larger value is killed earlier when memory runs out.",
    ] = None
    cap_drop: Annotated[list[str] | None, "Capabilities to remove, or `ALL`."] = None
    cap_add: Annotated[
        list[str] | None,
        "Exceptions from `cap_drop`. A capability that the container does not have cannot be added.",
    ] = None
    ambient_capabilities: Annotated[
        list[str] | None,
        (
            "Capabilities of the container that the service has although its `user` is not root, such as "
            "`NET_BIND_SERVICE` for a port below 1024 (systemd's `AmbientCapabilities=`)."
        ),
    ] = None
    security_opt: Annotated[
        list[str] | None,
        ("`no-new-privileges:true`: setuid and file capabilities have no effect. Other options are for the engine."),
    ] = None
    secrets: Annotated[list[str | FileMountKeys] | None, "Secrets that it gets, as files in /run/secrets."] = None
    configs: Annotated[list[str | FileMountKeys] | None, "Configs that it gets, as files."] = None
    sockets: Annotated[
        list[str | SocketKeys] | None,
        (
            "Addresses that cohabit listens on before the service starts and during its restarts, and "
            "passes with `LISTEN_FDS`: `8080`, `127.0.0.1:8080`, `udp:53`, `/run/app.sock`."
        ),
    ] = None
    depends_on: Annotated[
        list[str] | dict[str, DependsOnKeys] | None,
        "Services that must have started (short form, a list) or have reached a condition first.",
    ] = None
    conditions: Annotated[
        ConditionKeys | None,
        (
            "Conditions that must all hold at each start, such as `environment: PUBLIC_KEY`. Otherwise the service "
            "is skipped, which is not a failure."
        ),
    ] = None
    restart: Annotated[
        Policy | None,
        "`no`, `on-failure`, `on-failure:N`, `always`, `unless-stopped` (as `always`). Default `no`.",
    ] = None
    deploy: Annotated[DeployKeys | None, "`replicas` and `restart_policy`; other keys are ignored."] = None
    scale: Annotated[
        Scale | None,
        (
            "Number of instances, `web-1` to `web-n`, each with its number in `COHABIT_REPLICA`. `0`: the "
            "service is not started, and no service waits for it."
        ),
    ] = None
    schedule: Annotated[
        str | ScheduleKeys | None,
        'Start times in the five fields of cron, such as `"*/5 * * * *"`. Runs never overlap.',
    ] = None
    pid_file: Annotated[
        str | None,
        (
            "Absolute path of the file in which a daemon that forks into the background writes its process "
            "id. The daemon stays attached to the service."
        ),
    ] = None
    log_files: Annotated[
        list[str | LogFileKeys] | None,
        (
            "Absolute paths of log files that it writes instead of its standard output. New lines are followed as "
            "its output, through rotation. Links and files of other users are not followed where other users "
            "can change the directory."
        ),
    ] = None
    remove_before_start: Annotated[
        list[str] | None,
        (
            "Absolute paths of files and sockets that are removed before each start, such as a stale pid "
            "file. Removed as the service's user; as root only in directories that no other user can change. "
            "Links are not followed."
        ),
    ] = None
    pre_start: Annotated[
        list[str | HookKeys] | None,
        "Commands that run in order before each start and must succeed.",
    ] = None
    post_start: Annotated[list[str | HookKeys] | None, "Commands that run in order after each start."] = None
    pre_stop: Annotated[
        list[str | HookKeys] | None,
        "Commands that run in order before the stop signal is sent.",
    ] = None
    post_stop: Annotated[
        list[str | HookKeys] | None,
        (
            "Commands that run in order after each run, when the last process of the service has ended, however it "
            "ended (systemd's `ExecStopPost=`)."
        ),
    ] = None
    tty: Annotated[
        bool | None,
        "`true`: it has a terminal: the container's if only it asks and there is one, otherwise its own.",
    ] = None
    stdin_open: Annotated[
        bool | None,
        "`true`: its standard input stays open: the container's if only it asks, otherwise one of its own.",
    ] = None
    stop_signal: Annotated[Signal | None, "The signal that is sent to stop it. Default `SIGTERM`."] = None
    stop_grace_period: Annotated[Seconds | None, "Time to stop before it is killed. Default `10s`."] = None
    kill_mode: Annotated[
        Literal["mixed", "control-group"] | None,
        (
            "Who gets the stop signal, as in systemd: `mixed`, the main process only; `control-group`, all "
            "processes of the service, for a wrapper that does not forward it (supervisord's `stopasgroup`). "
            "SIGKILL goes to all. Default `mixed`."
        ),
    ] = None
    setsid: Annotated[
        bool | None,
        (
            "`false`: it leads no session of its own, only a process group, for programs such as dcron that "
            "call setpgid. Default `true`."
        ),
    ] = None
    autostart: Annotated[
        bool | None,
        (
            "`false`: it is not started with the others, but by `cohabit start` or by a service that depends "
            "on it and starts. Default `true`."
        ),
    ] = None
    essential: Annotated[
        bool | None,
        (
            "`true`: the container stops when the service has ended, with any exit code, and is not restarted. "
            "`false`: it does not. Default: it stops when the service has failed; `false` for a service with a "
            "`schedule` and for one whose completion another service waits for."
        ),
    ] = None
    profiles: Annotated[
        list[str] | None,
        "The service starts only if one of these is active or if it is named on the command line.",
    ] = None
    develop: Annotated[
        Node | None,
        "`watch`: rules for development, which `cohabit up --watch` obeys. See [develop.watch](#developwatch).",
    ] = None
    healthcheck: Annotated[HealthcheckKeys | None, "How cohabit checks that the service is ready and healthy."] = None
    logging: Annotated[
        Node | None,
        (
            "Destination and format of its output: a driver with options, or a list of them. Default: "
            "`logging` of `x-cohabit`."
        ),
    ] = None


class GlobalKeys(Keys):
    """x-cohabit: settings of the whole container."""

    stop_grace_period: Annotated[Seconds | None, "Maximum time to stop all services together. Default `9s`."] = None
    control_group: Annotated[
        str | None,
        (
            "A group, by name or number, whose members may use the control socket (`cohabit ps` and other "
            "commands), in addition to root and cohabit's own user."
        ),
    ] = None
    logging: Annotated[
        Node | None,
        ("`logging` of services without their own, and of cohabit's messages. Default: the driver `prefix`."),
    ] = None
    mask: Annotated[
        bool | None,
        "`true`: the texts of secrets are masked in all output. Default `false`.",
    ] = None


class FileKeys(Keys):
    """The top level of the file."""

    ignored: ClassVar[frozenset[str]] = frozenset({"models", "name", "networks", "version", "volumes"})

    kebab: ClassVar[bool] = True

    include: Annotated[
        list[str | IncludeKeys] | None,
        "Other files, whose services, secrets and configs take part.",
    ] = None
    services: Annotated[Node | None, "The services, by name."] = None
    x_cohabit: Annotated[GlobalKeys | None, "Settings of the whole container."] = None
    secrets: Annotated[dict[str, SecretKeys] | None, "Sources of the secrets."] = None
    configs: Annotated[dict[str, ConfigKeys] | None, "The same for texts that are not secret."] = None
