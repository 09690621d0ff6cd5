"""What follows from the facts of a container, for the services of a file. Pure.

Facts are what container.py has seen; None where nobody could tell, and then there is no verdict.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, TypeAlias

from cohabit.doctor import known
from cohabit.doctor.findings import ERROR, HINT, WARNING, Finding
from cohabit.doctor.services import daemonises, kind, program
from cohabit.plan.record import Record
from cohabit.units import format_duration

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cohabit.doctor.reading import Reading

Verdict: TypeAlias = tuple[str, str, str, str]  # level, what, why, do
PLACE = "container"
CAP_KILL, CAP_SETGID, CAP_SETUID, CAP_SYS_PTRACE = 5, 6, 7, 19
_INTERPRETER = re.compile(r"(?:python[0-9.]*|sh|dash|bash|ash)$")
_SUPERVISES = frozenset({"init", "run", "up"})
_PER_SERVICE, _OWN = 6, 64  # descriptors: reactor/processes/limits.py
_PROCESSES = 4  # of each service, and of everybody else: a supervisor, a shell, a probe, a hook
_MIB = 1 << 20
_DOCKERS_SHM = 64 * _MIB
_UNLIMITED = 1 << 60  # version 1 of cgroups says so with a very large number


class Facts(Record):
    """What was seen of a container.

    contained: whether this is one at all. process_1: its command line; () if nobody can tell. is_process_1: we are it.
    supervisor: the process id of a running cohabit, 0 for none; file: the
    one that it was given. zombies: dead children of process 1 that it leaves.
    variables: names and values of the environment; files: those of known.PLATFORMS that are there. writable: the
    places in which a socket can be made; tried: all that were tried. capabilities: our effective ones, as bits.
    shm_bytes: size of /dev/shm, 0 when it is not there. descriptors: the hard limit. process_limit: the cgroup's.
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
    """Everything that is wrong."""
    if not facts.contained:
        why = "process 1, limits and grace are this machine's, and tell nothing of a container"
        return [Finding(HINT, PLACE, "this is no container", why, "docker run --rm IMAGE cohabit doctor")]
    return [Finding(level, PLACE, *texts) for check in _CHECKS for level, *texts in check(facts, reading)]


# --- process 1 -------------------------------------------------------------------------------------------


def is_cohabit(words: tuple[str, ...]) -> bool:
    """Whether a command line is that of cohabit as init or supervisor, and not of somebody who has it in his words."""
    at = 0
    if words and _INTERPRETER.match(words[0].rpartition("/")[2]):
        at = 1
        while at < len(words) and words[at].startswith("-") and words[at] != "-m":
            at += 2 if words[at] in ("-X", "-W") else 1
        at += words[at : at + 1] == ("-m",)
    program_, verb = (*words[at : at + 2], "", "")[:2]
    ours = program_.endswith("/cohabit/__main__.py") or program_.rpartition("/")[2] == "cohabit"
    return ours and verb in _SUPERVISES


def named(words: tuple[str, ...]) -> tuple[str, known.Init | None]:
    """Who a command line is, and what is known of it."""
    first = words[0] if words else ""
    name = first.rpartition("/")[2]
    if len(words) > 1 and name.startswith("python"):  # an interpreter says less than its script: supervisord
        script = next((word for word in words[1:] if not word.startswith("-")), "").rpartition("/")[2]
        name = script if script in known.INITS else name
    if first == known.S6_PATH:
        name = "s6-svscan"
    return name, known.INITS.get(name.lstrip("-"))


def _process_1(facts: Facts, reading: Reading) -> Iterator[Verdict]:
    if facts.is_process_1 or not facts.process_1 or is_cohabit(facts.process_1):
        return
    name, init = named(facts.process_1)
    do = 'ENTRYPOINT ["cohabit", "up", "--"]'
    if not facts.supervisor:
        what = f"process 1 is {name}, and no cohabit is running"
        why = f"it {init.does}" if init else "nothing looks after several services, nobody reaps their orphans"
        yield HINT, what, why, do
    elif init and init.kind == known.SHELL:
        yield (
            ERROR,
            f"process 1 is {name}, and cohabit its child",
            f"it {init.does}",
            f"{do}, or exec cohabit in the script",
        )
    elif init and init.kind == known.PLATFORM:
        return
    elif init and init.kind == known.RELAY:
        why = f"it {init.does}; cohabit may make no cgroups there"
        yield (
            WARNING,
            f"process 1 is {name}, in front of cohabit",
            why,
            "drop --init (init: true), or tini from ENTRYPOINT",
        )
    else:
        why = f"it {init.does}" if init else "whether it passes TERM on, only it knows; `docker stop` asks nobody else"
        level = WARNING if init else HINT
        yield level, f"process 1 is {name}, in front of cohabit", why, f"{do}, and what it ran as services"
    del reading


def _orphans(facts: Facts, _reading: Reading) -> Iterator[Verdict]:
    ours = facts.is_process_1 or is_cohabit(facts.process_1)
    if facts.zombies and not ours:
        what = f"process 1 leaves {facts.zombies} zombie{'s' if facts.zombies > 1 else ''}"
        why = "each holds a process id for ever; with the last one nothing can be started any more"
        yield WARNING, what, why, 'ENTRYPOINT ["cohabit", "up", "--"]'
    if not ours and not facts.can_adopt:
        why = "cohabit is not process 1, and this Python has no _ctypes to make it a subreaper"
        yield (
            WARNING,
            "orphans of the services are not reaped",
            why,
            "make cohabit process 1 (exec it), or a Python with ctypes",
        )


def _proc(facts: Facts, _reading: Reading) -> Iterator[Verdict]:
    if not facts.proc_is_ours:
        why = "whose process is whose cannot be seen: a service is its process group, and daemons get away"
        yield WARNING, "/proc is missing, or another namespace's", why, "mount -t proc proc /proc in this namespace"


# --- places ----------------------------------------------------------------------------------------------


def _runtime_directory(facts: Facts, _reading: Reading) -> Iterator[Verdict]:
    if not facts.writable:
        what = f"uid {facts.uid} can make a socket nowhere ({', '.join(facts.tried)})"
        why = "no verb can talk to cohabit, HEALTHCHECK fails, and there is no NOTIFY_SOCKET"
        yield ERROR, what, why, "docker run --tmpfs /run/cohabit:mode=1777, and -e COHABIT_RUNTIME_DIR=/run/cohabit"


def _shared_memory(facts: Facts, reading: Reading) -> Iterator[Verdict]:
    if facts.shm_bytes is None:
        return
    if facts.shm_bytes == 0:
        why = "shm_open(3) fails: PostgreSQL, browsers and Python's multiprocessing need it"
        yield WARNING, "there is no /dev/shm", why, "docker run --tmpfs /dev/shm:mode=1777"
        return
    large = [
        name for name, item in reading.written.items() if kind(program(item.service.command)[0]) in known.LARGE_SHM
    ]
    if facts.shm_bytes <= _DOCKERS_SHM and large:
        what = f"only {facts.shm_bytes // _MIB} MiB are in /dev/shm"
        why = f"{', '.join(large)} may need more: parallel queries and browser tabs fail when it is full"
        yield HINT, what, why, "docker run --shm-size=1g (Kubernetes: an emptyDir with medium: Memory at /dev/shm)"


# --- time and limits -------------------------------------------------------------------------------------


def platform_of(facts: Facts) -> tuple[known.Platform, float] | None:
    """Who runs this container, and how long it waits after TERM."""
    for platform in known.PLATFORMS:
        if any(name in facts.variables for name in platform.variables) or any(
            file in facts.files for file in platform.files
        ):
            told = facts.variables.get(platform.told, "")
            return platform, float(told) if told.isdecimal() else platform.grace_seconds
    return None


def _grace(facts: Facts, reading: Reading) -> Iterator[Verdict]:
    found = platform_of(facts)
    if not found or not (reading.written or facts.supervisor or is_cohabit(facts.process_1)):
        return
    platform, seconds = found
    ours = reading.total_seconds
    if ours >= seconds > 0 or (seconds == 0 and ours > 0):
        gives = format_duration(seconds) if seconds else "no time"
        what = f"a stop may take {format_duration(ours)}, but {platform.name} gives {gives}"
        certain = facts.variables.get(platform.told, "").isdecimal()
        why = "then it kills everybody, cohabit first" + ("" if certain else " (unless it was told to wait longer)")
        shorter = f"x-cohabit: {{stop_grace_period: {format_duration(max(seconds - 1, 0.5))}}}"
        yield WARNING, what, why, f"{platform.raise_it}; or {shorter}"


def _memory(facts: Facts, reading: Reading) -> Iterator[Verdict]:
    limited = facts.memory_limit is not None and facts.memory_limit < _UNLIMITED
    if facts.memory_group and limited and reading.instances != 1:
        why = "memory.oom.group is 1, as Kubernetes sets it: nobody is left to restart the one that leaked"
        do = "a limit with room for all, or singleProcessOOMKill: true for the kubelet"
        yield WARNING, "when memory runs out, all services are killed at once", why, do
    if facts.oom_kill_disabled and limited:
        why = "the OOM killer is off: whoever asks for memory then waits for ever, cohabit too"
        yield ERROR, "at the memory limit everything stands still", why, "docker run without --oom-kill-disable"
    if facts.memory_limit is not None and not limited:
        why = "one service that leaks takes the machine's memory, and the kernel chooses who dies on all of it"
        yield HINT, "the container has no memory limit", why, "docker run --memory 512m"


def _processes(facts: Facts, reading: Reading) -> Iterator[Verdict]:
    if facts.process_limit is not None and reading.instances:
        needed = _PROCESSES * (reading.instances + 1)
        if facts.process_limit < needed:
            what = (
                f"the container may have {facts.process_limit} processes and threads, for {reading.instances} services"
            )
            yield (
                WARNING,
                what,
                "fork fails: services, probes and hooks cannot be started",
                "docker run --pids-limit 1024",
            )
    if facts.descriptors is not None:
        needed = reading.instances * _PER_SERVICE + _OWN
        if facts.descriptors < needed:
            what = f"cohabit may have {facts.descriptors} files open, but needs up to {needed}"
            why = f"{reading.instances} services with {_PER_SERVICE} each; further ones cannot be started"
            yield ERROR, what, why, f"docker run --ulimit nofile={max(1024, needed)}"


def _capabilities(facts: Facts, reading: Reading) -> Iterator[Verdict]:
    """What takes a capability, where a service is somebody else. Without root `check` tells what cannot be."""
    if facts.capabilities is None or facts.uid != 0:
        return
    others = [
        name for name, item in reading.written.items() if item.service.user and item.service.user.uid != facts.uid
    ]
    if not others:
        return
    names = ", ".join(others[:3]) + (" and others" if others[3:] else "")
    if not _both(facts.capabilities, CAP_SETUID, CAP_SETGID):
        why = "the capabilities SETUID and SETGID were taken from this container"
        yield ERROR, f"{names} cannot be started as another user", why, "docker run --cap-add SETUID --cap-add SETGID"
    if not _both(facts.capabilities, CAP_KILL):
        why = "the capability KILL was taken from this container: root may signal its own processes only"
        yield ERROR, f"{names} cannot be stopped", why, "docker run --cap-add KILL"
    leaving = [name for name in others if _leaves_processes(reading, name)]
    if leaving and not facts.cgroups_are_ours and not _both(facts.capabilities, CAP_SYS_PTRACE):
        what = f"whose the background processes of {', '.join(leaving)} are cannot always be told"
        why = "without the capability SYS_PTRACE another user's environment, with our mark in it, cannot be read"
        yield HINT, what, why, "docker run --cap-add SYS_PTRACE, or run them in the foreground"


def _both(capabilities: int, *numbers: int) -> bool:
    return all(capabilities >> number & 1 for number in numbers)


def _leaves_processes(reading: Reading, name: str) -> bool:
    service = reading.written[name].service
    program_name, arguments = program(service.command)
    row = known.DAEMONS.get(kind(program_name))
    return bool(service.pid_file) or (row is not None and daemonises(row, arguments))


_CHECKS = (
    _process_1,
    _orphans,
    _proc,
    _runtime_directory,
    _shared_memory,
    _grace,
    _memory,
    _processes,
    _capabilities,
)
