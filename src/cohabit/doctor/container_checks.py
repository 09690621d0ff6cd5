"""Check the facts of a container, together with the services of a file. Pure.

container.py collects the facts. A fact that is None is unknown, and leads to no finding.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, TypeAlias

from cohabit.doctor import known, replacement
from cohabit.doctor.findings import ERROR, HINT, WARNING, Finding
from cohabit.doctor.services import daemonizes, known_name, program
from cohabit.plan.draft import SourceLocation
from cohabit.plan.record import Record
from cohabit.units import format_duration

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cohabit.doctor.reading import Reading

FindingFields: TypeAlias = tuple[str, str, str, str]  # level, what, why, do
PLACE = SourceLocation("container")
CAP_KILL, CAP_SETGID, CAP_SETUID, CAP_SYS_PTRACE = 5, 6, 7, 19
_INTERPRETER = re.compile(r"(?:python[0-9.]*|sh|dash|bash|ash)$")
_SUPERVISES = frozenset({"init", "run", "up"})
_PER_SERVICE, _OWN = 6, 64  # descriptors: reactor/processes/limits.py
_PROCESSES = 4  # for each service, and for cohabit: supervisor, shell, probe, hook
_MIB = 1 << 20
_DOCKERS_SHM = 64 * _MIB
_UNLIMITED = 1 << 60  # cgroup v1 has a very large number instead of no limit


class Facts(Record):
    """The facts about a container.

    contained: whether this is a container. process_1: its command line, () if unknown. is_process_1: the doctor is
    process 1. supervisor: the process id of a running cohabit, 0 if none; file: its file. zombies: number of children
    that process 1 does not reap. variables: the environment; files: files of known.PLATFORMS that exist. writable:
    directories in which a socket can be created; tried: all that were tried. capabilities: our effective ones, as bits.
    shm_bytes: size of /dev/shm, 0 if it does not exist. descriptors: the hard limit. process_limit: of the cgroup.
    """

    contained: bool = True
    is_process_1: bool = False
    process_1: tuple[str, ...] = ()
    supervisor: int = 0
    file: str = ""
    zombies: int = 0
    proc_is_ours: bool = True
    can_adopt: bool = True
    uid: int = 0
    variables: dict[str, str] = {}  # noqa: RUF012 - a record's default is never changed
    files: tuple[str, ...] = ()
    writable: tuple[str, ...] = ("/run",)
    tried: tuple[str, ...] = ("/run",)
    capabilities: int | None = None
    cgroups_are_ours: bool = False
    memory_limit: int | None = None
    memory_group: bool | None = None
    oom_kill_disabled: bool = False
    process_limit: int | None = None
    descriptors: int | None = None
    shm_bytes: int | None = None


def examine(facts: Facts, reading: Reading) -> list[Finding]:
    """Return the findings."""
    if not facts.contained:
        why = "process 1, limits and grace period are those of the host, not of a container"
        return [
            Finding(
                "not-a-container", HINT, PLACE, "this is not a container", why, "docker run --rm IMAGE cohabit doctor"
            )
        ]
    return [Finding(rule, level, PLACE, *texts) for rule, check in CHECKS for level, *texts in check(facts, reading)]


# --- process 1 -------------------------------------------------------------------------------------------


def is_cohabit(argv: tuple[str, ...]) -> bool:
    """Whether a command line is cohabit as init or supervisor; not a client or a wrapper."""
    at = 0
    if argv and _INTERPRETER.match(argv[0].rpartition("/")[2]):
        at = 1
        while at < len(argv) and argv[at].startswith("-") and argv[at] != "-m":
            at += 2 if argv[at] in ("-X", "-W") else 1
        at += argv[at : at + 1] == ("-m",)
    program_, command = (*argv[at : at + 2], "", "")[:2]
    own_total = program_.endswith("/cohabit/__main__.py") or program_.rpartition("/")[2] == "cohabit"
    return own_total and command in _SUPERVISES


def named(argv: tuple[str, ...]) -> tuple[str, known.Init | None]:
    """Return the program name of a command line, and its row in known.INITS."""
    first = argv[0] if argv else ""
    name = first.rpartition("/")[2]
    if len(argv) > 1 and name.startswith("python"):  # the script is more specific than the interpreter: supervisord
        script = next((word for word in argv[1:] if not word.startswith("-")), "").rpartition("/")[2]
        name = script if script in known.INITS else name
    if first == known.S6_PATH:
        name = "s6-svscan"
    return name, known.INITS.get(name.lstrip("-"))


def _process_1(facts: Facts, reading: Reading) -> Iterator[FindingFields]:
    if facts.is_process_1 or not facts.process_1 or is_cohabit(facts.process_1):
        return
    name, init = named(facts.process_1)
    do = replacement.recommended()
    if not facts.supervisor:
        what = f"process 1 is {name}, and no cohabit is running"
        why = f"it {init.behaviour}" if init else "no supervisor manages the services"
        yield HINT, what, why, do
    elif init and init.kind == known.SHELL:
        yield (
            ERROR,
            f"process 1 is {name}, and cohabit is its child",
            f"it {init.behaviour}",
            f"{do}, or exec cohabit in the script",
        )
    elif init and init.kind == known.PLATFORM:
        return
    elif init and init.kind == known.RELAY:
        why = f"it {init.behaviour}; cohabit may not be able to create cgroups"
        yield (
            WARNING,
            f"process 1 is {name}, not cohabit",
            why,
            "remove --init (init: true), or tini from ENTRYPOINT",
        )
    else:
        why = f"it {init.behaviour}" if init else "`docker stop` sends TERM only to it, and it may not forward TERM"
        level = WARNING if init else HINT
        yield level, f"process 1 is {name}, not cohabit", why, f"{do}, and its programs as services"
    del reading


def _orphans(facts: Facts, _reading: Reading) -> Iterator[FindingFields]:
    own_total = facts.is_process_1 or is_cohabit(facts.process_1)
    if facts.zombies and not own_total:
        what = f"process 1 leaves {facts.zombies} zombie{'s' if facts.zombies > 1 else ''}"
        why = "each zombie holds a process id; when none is left, no process can be started"
        yield WARNING, what, why, replacement.recommended()
    if not own_total and not facts.can_adopt:
        why = "cohabit is not process 1, and this Python has no _ctypes to make it a subreaper"
        yield (
            WARNING,
            "orphans of the services are not reaped",
            why,
            "make cohabit process 1 (exec it), or use a Python with ctypes",
        )


def _proc_mount(facts: Facts, _reading: Reading) -> Iterator[FindingFields]:
    if not facts.proc_is_ours:
        why = "processes cannot be attributed: cohabit stops only the process group of a service, not its daemons"
        yield (
            WARNING,
            "/proc is missing, or belongs to another pid namespace",
            why,
            "mount -t proc proc /proc in this namespace",
        )


# --- directories -----------------------------------------------------------------------------------------


def _runtime_directory(facts: Facts, _reading: Reading) -> Iterator[FindingFields]:
    if not facts.writable:
        what = f"uid {facts.uid} cannot create a socket in any directory ({', '.join(facts.tried)})"
        why = "commands cannot reach cohabit, HEALTHCHECK fails, and services have no NOTIFY_SOCKET"
        yield ERROR, what, why, "docker run --tmpfs /run/cohabit:mode=1777, and -e COHABIT_RUNTIME_DIR=/run/cohabit"


def _shared_memory(facts: Facts, reading: Reading) -> Iterator[FindingFields]:
    if facts.shm_bytes is None:
        return
    if facts.shm_bytes == 0:
        why = "shm_open(3) fails: PostgreSQL, browsers and Python's multiprocessing need it"
        yield WARNING, "there is no /dev/shm", why, "docker run --tmpfs /dev/shm:mode=1777"
        return
    large = [
        name
        for name, item in reading.written.items()
        if known_name(program(item.service.command)[0]) in known.LARGE_SHM
    ]
    if facts.shm_bytes <= _DOCKERS_SHM and large:
        what = f"only {facts.shm_bytes // _MIB} MiB in /dev/shm"
        why = f"{', '.join(large)} may need more: parallel queries and browser tabs fail when it is full"
        yield HINT, what, why, "docker run --shm-size=1g (Kubernetes: an emptyDir with medium: Memory at /dev/shm)"


# --- time and limits -------------------------------------------------------------------------------------


def platform_of(facts: Facts) -> tuple[known.Platform, float] | None:
    """Return the platform of the container, and its grace period in seconds; None if not recognised."""
    for platform in known.PLATFORMS:
        if any(name in facts.variables for name in platform.variables) or any(
            file in facts.files for file in platform.files
        ):
            grace = facts.variables.get(platform.grace_variable, "")
            return platform, float(grace) if grace.isdecimal() else platform.grace_seconds
    return None


def _grace(facts: Facts, reading: Reading) -> Iterator[FindingFields]:
    found = platform_of(facts)
    if not found or not (reading.written or facts.supervisor or is_cohabit(facts.process_1)):
        return
    platform, seconds = found
    own_total = reading.total_seconds
    if own_total >= seconds > 0 or (seconds == 0 and own_total > 0):
        allowed = format_duration(seconds) if seconds else "no time"
        what = f"a stop may take {format_duration(own_total)}, but {platform.name} gives {allowed}"
        certain = facts.variables.get(platform.grace_variable, "").isdecimal()
        why = "after that it kills all processes" + ("" if certain else " (unless a longer grace period is configured)")
        shorter = f"x-cohabit: {{stop_grace_period: {format_duration(max(seconds - 1, 0.5))}}}"
        yield WARNING, what, why, f"{platform.extension}; or {shorter}"


def _memory(facts: Facts, reading: Reading) -> Iterator[FindingFields]:
    limited = facts.memory_limit is not None and facts.memory_limit < _UNLIMITED
    if facts.memory_group and limited and reading.instances != 1:
        why = "memory.oom.group is 1, as set by Kubernetes: cohabit is killed, too, and cannot restart a service"
        do = "set a limit that is large enough for all, or singleProcessOOMKill: true in the kubelet's configuration"
        yield WARNING, "at the memory limit all processes are killed at once", why, do
    if facts.oom_kill_disabled and limited:
        why = "the OOM killer is disabled: a process that allocates memory, cohabit included, then blocks"
        yield ERROR, "at the memory limit all processes block", why, "docker run without --oom-kill-disable"
    if facts.memory_limit is not None and not limited:
        why = "a memory leak uses up the host's memory, and the kernel may kill any process of the host"
        yield HINT, "the container has no memory limit", why, "docker run --memory 512m"


def _processes(facts: Facts, reading: Reading) -> Iterator[FindingFields]:
    if facts.process_limit is not None and reading.instances:
        needed = _PROCESSES * (reading.instances + 1)
        if facts.process_limit < needed:
            what = f"the limit is {facts.process_limit} processes and threads, for {reading.instances} services"
            yield (
                WARNING,
                what,
                "fork fails at the limit: services, probes and hooks cannot be started",
                "docker run --pids-limit 1024",
            )
    if facts.descriptors is not None:
        needed = reading.instances * _PER_SERVICE + _OWN
        if facts.descriptors < needed:
            what = f"the limit is {facts.descriptors} open files, but cohabit needs up to {needed}"
            why = f"{reading.instances} services need {_PER_SERVICE} each: some cannot be started"
            yield ERROR, what, why, f"docker run --ulimit nofile={max(1024, needed)}"


def _capabilities(facts: Facts, reading: Reading) -> Iterator[FindingFields]:
    """Capabilities that services of other users require. Without root, `cohabit check` reports such services."""
    if facts.capabilities is None or facts.uid != 0:
        return
    other_users = [
        name for name, item in reading.written.items() if item.service.user and item.service.user.uid != facts.uid
    ]
    if not other_users:
        return
    names = ", ".join(other_users[:3]) + (" and others" if other_users[3:] else "")
    if not _both(facts.capabilities, CAP_SETUID, CAP_SETGID):
        why = "this container lacks the capabilities SETUID and SETGID"
        yield ERROR, f"{names} cannot be started as another user", why, "docker run --cap-add SETUID --cap-add SETGID"
    if not _both(facts.capabilities, CAP_KILL):
        why = "this container lacks the capability KILL: root can signal only its own processes"
        yield ERROR, f"{names} cannot be stopped", why, "docker run --cap-add KILL"
    leaving = [name for name in other_users if _leaves_processes(reading, name)]
    if leaving and not facts.cgroups_are_ours and not _both(facts.capabilities, CAP_SYS_PTRACE):
        what = f"background processes of {', '.join(leaving)} cannot always be attributed to their service"
        why = "without the capability SYS_PTRACE cohabit cannot read its tracking variables in processes of other users"
        yield HINT, what, why, "docker run --cap-add SYS_PTRACE, or run them in the foreground"


def _both(capabilities: int, *numbers: int) -> bool:
    return all(capabilities >> number & 1 for number in numbers)


def _leaves_processes(reading: Reading, name: str) -> bool:
    service = reading.written[name].service
    program_name, arguments = program(service.command)
    row = known.DAEMONS.get(known_name(program_name))
    return bool(service.pid_file) or (row is not None and daemonizes(row, arguments))


CHECKS = (
    ("process-1", _process_1),
    ("orphans-not-reaped", _orphans),
    ("proc-missing", _proc_mount),
    ("no-runtime-directory", _runtime_directory),
    ("shared-memory", _shared_memory),
    ("grace-period", _grace),
    ("memory-limit", _memory),
    ("limit-too-low", _processes),
    ("missing-capability", _capabilities),
)
