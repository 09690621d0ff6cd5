"""The field table: every key that a cohabit file may hold, its type and what it means.

The types are msgspec's; convert.py walks what was written along them, and docs/reference/file.md is tested
against the descriptions. `elsewhere` names keys of Compose that are for whoever makes the container, so they
are accepted and left alone; `later` names keys that ask for something which this version does not do.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, TypeAlias

from msgspec import Meta, Struct, field

from cohabit.config.keys.resources import (  # noqa: TC001 - msgspec looks them up
    ConfigKeys,
    GrantKeys,
    Nice,
    OomScoreAdj,
    SecretKeys,
    SocketKeys,
    UlimitKeys,
    Umask,
)
from cohabit.config.text.node import Node  # noqa: TC001 - msgspec looks it up
from cohabit.plan.nearest import did_you_mean
from cohabit.units import parse_duration, parse_signal

_LONGEST_SECONDS = 100 * 365 * 86400.0  # timers of the kernel still hold this
_LONGEST_COUNT = 9  # digits
_MOST_REPLICAS = 1000
_POLICIES = ("no", "always", "on-failure", "unless-stopped")
# A service's keys that are for whoever makes the container.
_ELSEWHERE = """
    annotations attach blkio_config build cgroup cgroup_parent container_name cpu_count cpu_percent
    cpu_period cpu_quota cpu_rt_period cpu_rt_runtime cpu_shares cpus cpuset credential_spec develop
    device_cgroup_rules devices dns dns_opt dns_search domainname expose external_links extra_hosts gpus
    hostname image init ipc isolation label_file labels links mac_address mem_limit mem_reservation
    mem_swappiness memswap_limit models network_mode networks oom_kill_disable pid pids_limit platform ports
    privileged provider pull_policy pull_refresh_after read_only runtime shm_size storage_opt
    sysctls tmpfs use_api_socket userns_mode uts volumes volumes_from
"""
# A service's keys that ask for something which this version does not do.
_LATER = """
    extends
"""


class Seconds(float):
    """A Compose duration."""

    expected: ClassVar[str] = "a duration such as 10s or 1m30s"

    @classmethod
    def parse(cls, text: str) -> Seconds:
        """Seconds of "1m30s", to the nanosecond as Go's; ValueError if it is none, or longer than a century."""
        seconds = parse_duration(text)
        if seconds > _LONGEST_SECONDS:
            raise ValueError(f"{text[:40]!r} is longer than a hundred years")
        return cls(round(seconds, 9))


class Signal(int):
    """A signal's number."""

    expected: ClassVar[str] = "a signal such as SIGTERM"

    @classmethod
    def parse(cls, text: str) -> Signal:
        """Number of "SIGTERM", "TERM" or "15"; ValueError if there is none."""
        return cls(parse_signal(text))


class Count(int):
    """A number of times, from 0 up."""

    expected: ClassVar[str] = "a whole number from 0 up"

    @classmethod
    def parse(cls, text: str) -> Count:
        """Number of "3"; ValueError if it is none, or beyond any use."""
        if not (text.isascii() and text.isdecimal()) or len(text) > _LONGEST_COUNT:
            raise ValueError(f"expected {cls.expected}, got {text[:40]!r}")
        return cls(text)


class Scale(int):
    """How many instances of a service there are."""

    expected: ClassVar[str] = f"a whole number from 0 to {_MOST_REPLICAS}"

    @classmethod
    def parse(cls, text: str) -> Scale:
        """Number of "3"; ValueError if it is none, or more than one container can hold."""
        if not (text.isascii() and text.isdecimal()) or len(text) > _LONGEST_COUNT or int(text) > _MOST_REPLICAS:
            raise ValueError(f"expected {cls.expected}, got {text[:40]!r}")
        return cls(text)


class Policy(str):
    """Compose's restart policy in its short form. attempts: N of on-failure:N, None for no end."""

    __slots__ = ("attempts",)
    expected: ClassVar[str] = "no, always, on-failure[:N] or unless-stopped"
    attempts: int | None

    @classmethod
    def parse(cls, text: str) -> Policy:
        """Policy of "on-failure:3"; ValueError if it is none."""
        word, colon, limit = text.partition(":")
        if word not in _POLICIES or (colon and word != "on-failure"):
            hint = "" if word in _POLICIES else did_you_mean(word, _POLICIES)
            raise ValueError(f"expected {cls.expected}, got {text[:40]!r}{hint}")
        policy = cls(word)
        policy.attempts = (int(Count.parse(limit)) if colon else 0) or None  # Docker: 0 is no end, too
        return policy


Words: TypeAlias = str | list[str]
Condition: TypeAlias = Literal["service_started", "service_healthy", "service_completed_successfully"]


class DependsOnKeys(Struct, frozen=True, kw_only=True):
    """One entry of depends_on in its long form."""

    condition: Annotated[Condition, Meta(description="What the other service must have reached.")]
    required: Annotated[
        bool, Meta(description="`false`: wait only if the other service takes part at all. Default `true`.")
    ] = True
    restart: Annotated[
        bool,
        Meta(
            description="`true`: restarted with the other one, when somebody restarts that (not when it crashed). "
            "Default `false`."
        ),
    ] = False


class EnvFileKeys(Struct, frozen=True, kw_only=True):
    """One entry of env_file in its long form."""

    path: Annotated[str, Meta(description="The file, relative to the directory of this one.")]
    required: Annotated[bool, Meta(description="`false`: no problem if it is not there. Default `true`.")] = True
    format: Annotated[
        Literal["raw"] | None, Meta(description="`raw`: values are taken as they are, with quotes and `$`.")
    ] = None


class HealthcheckKeys(Struct, frozen=True, kw_only=True):
    """A service's healthcheck."""

    test: Annotated[
        Words | None, Meta(description="What tells that it is well: one of the kinds below; a string is `CMD-SHELL`.")
    ] = None
    interval: Annotated[
        Seconds | None,
        Meta(
            description="Time from probe to probe, and in which one failure counts. Default `30s`. For `NOTIFY`, if "
            "written: how often it has to send `WATCHDOG=1`."
        ),
    ] = None
    timeout: Annotated[
        Seconds | None,
        Meta(description="How long one probe may take. Default `30s` for a command, `5s` for `TCP`, `HTTP`, `UNIX`."),
    ] = None
    retries: Annotated[
        Count | None, Meta(description="Failures in a row that make it unhealthy. Default (and for `0`) `3`.")
    ] = None
    start_period: Annotated[
        Seconds | None, Meta(description="From its start on: failures do not count in it. Default `0s`.")
    ] = None
    start_interval: Annotated[
        Seconds | None,
        Meta(description="Time from probe to probe until the first success. Default `100ms`, `500ms` for a command."),
    ] = None
    on_failure: Annotated[
        Literal["none", "restart", "exit"] | None,
        Meta(
            description="What follows when it is unhealthy: `none`; `restart` it, whatever its restart policy; `exit`: "
            "end the container. Default `none`."
        ),
    ] = None
    disable: Annotated[bool, Meta(description="`true` is the same as `test: NONE`.")] = False


class HookKeys(Struct, frozen=True, kw_only=True):
    """One entry of pre_start, post_start or pre_stop."""

    elsewhere: ClassVar[frozenset[str]] = frozenset({"per_replica", "privileged"})

    command: Annotated[Words, Meta(description="The program and its arguments, as in a service.")]
    user: Annotated[str | None, Meta(description="Who it runs as. Default: the service's user.")] = None
    working_dir: Annotated[str | None, Meta(description="Directory to start in. Default: the service's.")] = None
    environment: Annotated[
        dict[str, str | None] | list[str] | None,
        Meta(description="Variables, as a map or as a list; they come on top of the service's."),
    ] = None
    image: Annotated[
        str | None, Meta(description="Accepted for Compose, with a warning: it runs here, in this container.")
    ] = None


class ScheduleKeys(Struct, frozen=True, kw_only=True):
    """A service's schedule in its long form."""

    cron: Annotated[str, Meta(description="The five fields, or `@hourly`, `@daily`, `@weekly`, `@monthly`, `@yearly`.")]
    timezone: Annotated[
        str | None, Meta(description="A time zone such as `Europe/Berlin`. Default: the container's own.")
    ] = None


class RestartPolicyKeys(Struct, frozen=True, kw_only=True):
    """deploy.restart_policy."""

    condition: Annotated[
        Literal["none", "on-failure", "any"], Meta(description="Which ends lead to a restart. Default `any`.")
    ] = "any"
    delay: Annotated[
        Seconds | None,
        Meta(description="A fixed pause before each restart. Default: Docker's back-off, 100 ms doubling to 60 s."),
    ] = None
    max_attempts: Annotated[Count | None, Meta(description="Restarts in a row at the most. Default: no end.")] = None
    window: Annotated[
        Seconds | None,
        Meta(description="A run that lasted as long forgives those before it; `0s`: none does. Default `10s`."),
    ] = None


class DeployKeys(Struct, frozen=True, kw_only=True):
    """A service's deploy."""

    elsewhere: ClassVar[frozenset[str]] = frozenset(
        {"endpoint_mode", "labels", "mode", "placement", "resources", "rollback_config", "update_config"}
    )

    replicas: Annotated[Scale | None, Meta(description="The same as `scale`.")] = None
    restart_policy: Annotated[
        RestartPolicyKeys | None, Meta(description="The long form of `restart`; overrides it.")
    ] = None


class ServiceKeys(Struct, frozen=True, kw_only=True):
    """One service."""

    elsewhere: ClassVar[frozenset[str]] = frozenset(_ELSEWHERE.split())
    later: ClassVar[frozenset[str]] = frozenset(_LATER.split())

    command: Annotated[
        Words | None,
        Meta(description="The program and its arguments: a list as it is, a string split into words, without a shell."),
    ] = None
    entrypoint: Annotated[Words | None, Meta(description="Words that stand before those of `command`.")] = None
    environment: Annotated[
        dict[str, str | None] | list[str] | None,
        Meta(
            description="Variables, as a map or as a list of `NAME=value`; a name without a value takes ours. They "
            "override those of `env_file`, and both the container's own."
        ),
    ] = None
    env_file: Annotated[
        str | list[str | EnvFileKeys] | None,
        Meta(
            description="Files of variables; later ones override earlier ones. Relative to the directory of this file."
        ),
    ] = None
    working_dir: Annotated[
        str | None, Meta(description="Directory to start in. Default: the one cohabit was started in.")
    ] = None
    user: Annotated[
        str | None,
        Meta(description="Who it runs as: `name`, `uid`, `name:group` or `uid:gid`. Default: as cohabit itself."),
    ] = None
    group_add: Annotated[list[str] | None, Meta(description="Further groups of its user, by name or number.")] = None
    umask: Annotated[
        Umask | None, Meta(description="Permissions that its new files shall not have, octal: `022`. Default: our own.")
    ] = None
    ulimits: Annotated[
        dict[str, str | UlimitKeys] | None,
        Meta(description="Resource limits: `nofile: 1024` for both, or `soft` and `hard`; `-1` for unlimited."),
    ] = None
    nice: Annotated[
        Nice | None,
        Meta(description="From `-20` to `19`: the larger, the more it lets others go first. Default: as ours."),
    ] = None
    oom_score_adj: Annotated[
        OomScoreAdj | None,
        Meta(description="From `-1000` to `1000`: the larger, the sooner it is killed when memory runs out."),
    ] = None
    cap_drop: Annotated[list[str] | None, Meta(description="Capabilities that are taken from it, or `ALL`.")] = None
    cap_add: Annotated[
        list[str] | None,
        Meta(description="Spared from `cap_drop`. What the container itself has not cannot be added in here."),
    ] = None
    security_opt: Annotated[
        list[str] | None,
        Meta(description="`no-new-privileges:true`: no program gives it more rights. Others are for the engine."),
    ] = None
    secrets: Annotated[
        list[str | GrantKeys] | None, Meta(description="Secrets that it is handed, as files in /run/secrets.")
    ] = None
    configs: Annotated[list[str | GrantKeys] | None, Meta(description="Configs that it is handed, as files.")] = None
    sockets: Annotated[
        list[str | SocketKeys] | None,
        Meta(
            description="Addresses that are listened on before it starts and through its restarts, handed to it by "
            "`LISTEN_FDS`: `8080`, `127.0.0.1:8080`, `udp:53`, `/run/app.sock`."
        ),
    ] = None
    depends_on: Annotated[
        list[str] | dict[str, DependsOnKeys] | None,
        Meta(description="Services that must be started (short form, a list) or have reached a condition first."),
    ] = None
    restart: Annotated[
        Policy | None,
        Meta(description="`no`, `on-failure`, `on-failure:N`, `always` or `unless-stopped` (the same). Default `no`."),
    ] = None
    deploy: Annotated[
        DeployKeys | None, Meta(description="Only its `replicas` and its `restart_policy` are acted on.")
    ] = None
    scale: Annotated[
        Scale | None,
        Meta(
            description="So many instances, `web-1` to `web-n`, each with its number in `COHABIT_REPLICA`. `0`: it is "
            "not started, and nobody waits for it."
        ),
    ] = None
    schedule: Annotated[
        str | ScheduleKeys | None,
        Meta(
            description='A job that is started by the clock: five fields of cron such as `"*/5 * * * *"`. It never '
            "overlaps itself."
        ),
    ] = None
    pid_file: Annotated[
        str | None,
        Meta(
            description="Where a daemon that puts itself in the background writes its process id: a whole path. It "
            "remains this service's."
        ),
    ] = None
    pre_start: Annotated[
        list[HookKeys] | None,
        Meta(description="Commands that must succeed, one after the other, before each start of it."),
    ] = None
    post_start: Annotated[
        list[HookKeys] | None, Meta(description="Commands that are run one after the other once it is started.")
    ] = None
    pre_stop: Annotated[
        list[HookKeys] | None,
        Meta(description="Commands that are run one after the other before it is asked to stop."),
    ] = None
    tty: Annotated[
        bool | None, Meta(description="`true`: it gets the container's own terminal. For one service only.")
    ] = None
    stdin_open: Annotated[
        bool | None, Meta(description="`true`: it gets the container's standard input. For one service only.")
    ] = None
    stop_signal: Annotated[Signal | None, Meta(description="The signal that asks it to stop. Default `SIGTERM`.")] = (
        None
    )
    stop_grace_period: Annotated[
        Seconds | None, Meta(description="How long it may take to stop before it is killed. Default `10s`.")
    ] = None
    essential: Annotated[
        bool | None,
        Meta(
            description="`true`: when it ends for good, the container stops. Default `true`, but `false` for a "
            "service whose completion another one waits for, and for one with a `schedule`."
        ),
    ] = None
    profiles: Annotated[
        list[str] | None, Meta(description="It takes part only if one of these is active, or if it is named.")
    ] = None
    healthcheck: Annotated[HealthcheckKeys | None, Meta(description="How to learn that it is ready, and well.")] = None
    logging: Annotated[
        Node | None,
        Meta(
            description="Where its output goes, and how it is written: a driver with its options, or a list of "
            "several. Default: that of `x-cohabit`."
        ),
    ] = None


class GlobalKeys(Struct, frozen=True, kw_only=True):
    """x-cohabit: settings of the whole container."""

    stop_grace_period: Annotated[
        Seconds | None, Meta(description="How long the stop of everything together may take. Default `9s`.")
    ] = None
    control_group: Annotated[
        str | int | None,
        Meta(
            description="A group, by name or number, whose members may use the control socket (`cohabit ps` and the "
            "like) beside root and cohabit's own user."
        ),
    ] = None
    logging: Annotated[
        Node | None,
        Meta(
            description="The `logging` of services that have none of their own, and of our own messages. Default: the "
            "driver `prefix`."
        ),
    ] = None
    mask: Annotated[
        bool | None,
        Meta(description="`true`: the texts of secrets are hidden in all output. Default `false`."),
    ] = None


class FileKeys(Struct, frozen=True, kw_only=True):
    """The whole file. Its services are converted one by one."""

    elsewhere: ClassVar[frozenset[str]] = frozenset({"models", "name", "networks", "services", "version", "volumes"})
    later: ClassVar[frozenset[str]] = frozenset({"include"})

    whole: Annotated[GlobalKeys | None, Meta(description="Settings of the whole container.")] = field(
        default=None, name="x-cohabit"
    )
    secrets: Annotated[
        dict[str, SecretKeys] | None, Meta(description="Where the texts come from that services are handed as secrets.")
    ] = None
    configs: Annotated[dict[str, ConfigKeys] | None, Meta(description="The same for texts that are no secret.")] = None
