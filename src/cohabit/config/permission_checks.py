"""Whether we may do to a service what its file asks for: groups, limits, capabilities, sockets and secrets.

Found out before anything starts, on the machine itself. What the kernel alone can tell is tried here, in the
loader, and taken back: lowering what was raised is always allowed. Part of system.py's question.
"""

from __future__ import annotations

import os
import resource
import stat
from importlib import import_module
from typing import TYPE_CHECKING

from cohabit import paths
from cohabit.config.secret_files import targets
from cohabit.config.values.file_variables import may_read
from cohabit.config.values.kernel_names import capability_name, ulimit_name
from cohabit.plan.draft import Diagnostic

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cohabit.plan.draft import DraftService
    from cohabit.plan.model import Credentials, Plan, Service

_SETGID, _SETPCAP = 6, 8
_LONGEST_VALUE = 131_072  # MAX_ARG_STRLEN (execve(2)): a variable with its name
_SECRET_DIRECTORIES = ("/run/secrets/", "/run/configs/")
_OOM_SCORE_ADJ = "/proc/self/oom_score_adj"


def check_rights(service: Service, item: DraftService) -> Iterator[Diagnostic]:
    """What the kernel would refuse to do for a service."""
    for key, text in (*_groups(service), *_privileges(service), *_limits(service)):
        yield Diagnostic(item.place(key), f"services.{service.service}.{key}: {text}")


def check_secret_files(service: Service, item: DraftService, plan: Plan) -> Iterator[Diagnostic]:
    """Files whose texts its variables get: there, readable, and not too long. They are not read here."""
    for variable, path in service.secret_files.items():
        why = "" if path in targets(plan) else _why_no_secret(variable, path)
        warning = "" if why or path in targets(plan) else _why_not_as_user(path, service.user)
        if why or warning:
            place = item.place("environment" if "environment" in item.places else "env_file")
            shown = (
                path if path.startswith(_SECRET_DIRECTORIES) else "the file that is named for it"
            )  # no value is quoted
            text = f"cannot set {variable} for {service.service}: {shown} {why or warning}"
            yield Diagnostic(place, text, warning=not why)


def _why_no_secret(variable: str, path: str) -> str:
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return "is not there (mount it, or write it below secrets:)"
    except OSError as error:
        return f"cannot be looked at: {error.strerror}"
    if not stat.S_ISREG(found.st_mode):
        return "is no regular file (name another)"
    if not os.access(path, os.R_OK):
        return f"is not readable for uid {os.geteuid()} (change its permissions)"
    if found.st_size + len(variable) > _LONGEST_VALUE:
        return "is longer than a variable can be, 128 KiB (give the service the path itself, under another name)"
    return ""


def _why_not_as_user(path: str, user: Credentials | None) -> str:
    """A file that others may have put there is read as the service's user. It may change until the start."""
    if user is None or user.uid == os.geteuid() or _is_private(path) or may_read(path, user):
        return ""
    why = f"is not readable for user {user.uid}, and others than root can change where it is"
    return f"{why} (move it to a directory that only root can change, or change its permissions)"


def _is_private(path: str) -> bool:
    try:
        return paths.is_private(path)
    except OSError:
        return False


def _groups(service: Service) -> Iterator[tuple[str, str]]:
    """Changing only the groups takes a capability, too; changing the user is system.py's question."""
    user = service.user
    if user is None or (user.uid, user.gid) != (os.geteuid(), os.getegid()):
        return
    if not {user.gid, *os.getgroups()}.issuperset(user.groups) and not _has("CapEff", _SETGID):
        yield "group_add", "we may not change groups (start as root with CAP_SETGID, or docker run --group-add)"


def _privileges(service: Service) -> Iterator[tuple[str, str]]:
    limits = service.limits
    asked = {"cap_drop": limits.cap_drop, "security_opt": limits.no_new_privileges}
    if any(asked.values()):
        try:
            import_module("_ctypes")
        except ImportError:
            for key in filter(asked.get, asked):
                yield key, "this Python has no _ctypes, and so no way to ask for it (install one with ctypes)"
            return
    there = [number for number in limits.cap_drop if _has("CapBnd", number)]
    if there and not _has("CapEff", _SETPCAP):
        names = ", ".join(map(capability_name, there[:3])) + (" and others" if there[3:] else "")
        yield (
            "cap_drop",
            f"dropping {names} takes CAP_SETPCAP, which we have not (docker run --cap-drop does it for all)",
        )


def _limits(service: Service) -> Iterator[tuple[str, str]]:
    limits = service.limits
    for number, _, hard in limits.ulimits:
        before = resource.getrlimit(number)
        if _above(hard, before[1]) and not _may_raise(number, before, hard):
            ours = "unlimited" if before[1] == resource.RLIM_INFINITY else before[1]
            text = f"{ulimit_name(number)}: cannot raise the hard limit {ours} to {'unlimited' if hard == -1 else hard}"
            yield "ulimits", f"{text} (give the container more: docker run --ulimit {ulimit_name(number)}={hard})"
    if limits.nice is not None and not _may_set_nice(limits.nice):
        yield (
            "nice",
            f"cannot go below {os.getpriority(os.PRIO_PROCESS, 0)} (that takes CAP_SYS_NICE: docker run --cap-add)",
        )
    if limits.oom_score_adj is not None and not _may_set_oom_score_adj(limits.oom_score_adj):
        yield "oom_score_adj", "cannot go below our own (docker run --oom-score-adj lowers that of all)"


def _above(limit: int, other: int) -> bool:
    return other != resource.RLIM_INFINITY and (limit == resource.RLIM_INFINITY or limit > other)


def _may_raise(number: int, before: tuple[int, int], hard: int) -> bool:
    try:
        resource.setrlimit(number, (before[0], hard))
    except (ValueError, OSError):
        return False
    resource.setrlimit(number, before)
    return True


def _may_set_nice(nice: int) -> bool:
    before = os.getpriority(os.PRIO_PROCESS, 0)
    if nice >= before:
        return True
    try:
        os.setpriority(os.PRIO_PROCESS, 0, nice)
    except OSError:
        return False
    os.setpriority(os.PRIO_PROCESS, 0, before)
    return True


def _may_set_oom_score_adj(wanted: int) -> bool:
    try:
        with open(_OOM_SCORE_ADJ, encoding="utf-8") as file:
            before = int(file.read())
        if wanted < before:
            for number in (wanted, before):
                with open(_OOM_SCORE_ADJ, "w", encoding="utf-8") as file:
                    file.write(str(number))
    except OSError:
        return False
    return True


def _has(which: str, capability: int) -> bool:
    """Whether a capability is in one of our sets; where nobody can tell, the start will."""
    try:
        with open("/proc/self/status", encoding="utf-8", errors="replace") as file:
            line = next((line for line in file if line.startswith(f"{which}:")), "")
    except OSError:
        return which == "CapEff"
    return bool(int(line.split()[1], 16) >> capability & 1) if line else which == "CapEff"
