"""Whether cohabit has the permissions that a service needs: groups, limits, capabilities and files of secrets.

Part of system.py's checks, before anything starts. Where only the kernel knows, the change is tried here in the loader
and undone: lowering a raised value is always permitted.
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


def check_permissions(service: Service, item: DraftService) -> Iterator[Diagnostic]:
    """A diagnostic for each setting of the service that the kernel would refuse."""
    for key, text in (*_groups(service), *_privileges(service), *_limits(service)):
        yield Diagnostic(item.place(key), f"services.{service.service}.{key}: {text}", at_run_time=True)


def check_file_variables(service: Service, item: DraftService, plan: Plan) -> Iterator[Diagnostic]:
    """Whether the file of each X_FILE variable exists, is readable and fits into a variable. It is not read here."""
    for variable, path in service.secret_files.items():
        why = "" if path in targets(plan) else _why_no_secret(variable, path)
        warning = "" if why or path in targets(plan) else _why_not_as_user(path, service.user)
        if why or warning:
            location = item.place("environment" if "environment" in item.written else "env_file")
            # Values of variables are not quoted.
            shown = path if path.startswith(_SECRET_DIRECTORIES) else "the file named for it"
            text = f"cannot set {variable} for {service.service}: {shown} {why or warning}"
            yield Diagnostic(location, text, warning=not why, at_run_time=not os.path.lexists(path))


def _why_no_secret(variable: str, path: str) -> str:
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return "does not exist (mount it, or declare it below secrets:)"
    except OSError as error:
        return f"cannot be accessed: {error.strerror}"
    if not stat.S_ISREG(found.st_mode):
        return "is not a regular file (name another)"
    if not os.access(path, os.R_OK):
        return f"is not readable by uid {os.geteuid()} (change its permissions)"
    if found.st_size + len(variable) > _LONGEST_VALUE:
        return "is longer than 128 KiB, the limit for a variable (pass its path under another name)"
    return ""


def _why_not_as_user(path: str, user: Credentials | None) -> str:
    """Why the service's user cannot read a file that users other than root may replace; it is read as that user."""
    if user is None or user.uid == os.geteuid() or _is_private(path) or may_read(path, user):
        return ""
    why = f"is not readable by user {user.uid}, and users other than root can change its directory"
    return f"{why} (move it to a directory that only root can change, or change its permissions)"


def _is_private(path: str) -> bool:
    try:
        return paths.is_private(path)
    except OSError:
        return False


def _groups(service: Service) -> Iterator[tuple[str, str]]:
    """Changing only the groups needs CAP_SETGID as well. system.py checks the change of the user."""
    user = service.user
    if user is None or (user.uid, user.gid) != (os.geteuid(), os.getegid()):
        return
    if not {user.gid, *os.getgroups()}.issuperset(user.groups) and not _has("CapEff", _SETGID, unknown=True):
        yield (
            "group_add",
            "cannot change groups: cohabit has no CAP_SETGID (start as root with it, or use docker run --group-add)",
        )


def _privileges(service: Service) -> Iterator[tuple[str, str]]:
    limits = service.limits
    requested = {
        "cap_drop": limits.cap_drop,
        "ambient_capabilities": limits.ambient,
        "security_opt": limits.no_new_privileges,
    }
    if any(requested.values()):
        try:
            import_module("_ctypes")
        except ImportError:
            for key in filter(requested.get, requested):
                yield key, "not available: this Python has no _ctypes (install a Python with ctypes)"
            return
    for name, number in limits.ambient:
        if not all(_has(each, number, unknown=True) for each in ("CapPrm", "CapBnd")):
            yield (
                "ambient_capabilities",
                f"cannot give {name} to the service: cohabit does not have it (use docker run --cap-add {name})",
            )
    present = [number for number in limits.cap_drop if _has("CapBnd", number)]
    if present and not _has("CapEff", _SETPCAP, unknown=True):
        names = ", ".join(map(capability_name, present[:3])) + (" and others" if present[3:] else "")
        yield (
            "cap_drop",
            f"cannot drop {names}: cohabit has no CAP_SETPCAP (use docker run --cap-drop for the whole container)",
        )


def _limits(service: Service) -> Iterator[tuple[str, str]]:
    limits = service.limits
    for number, _, hard in limits.ulimits:
        before = resource.getrlimit(number)
        if _above(hard, before[1]) and not _may_raise(number, before, hard):
            own = "unlimited" if before[1] == resource.RLIM_INFINITY else before[1]
            text = f"{ulimit_name(number)}: cannot raise the hard limit {own} to {'unlimited' if hard == -1 else hard}"
            yield "ulimits", f"{text} (raise it for the container: docker run --ulimit {ulimit_name(number)}={hard})"
    if limits.nice is not None and not _may_set_nice(limits.nice):
        yield (
            "nice",
            f"cannot be lower than {os.getpriority(os.PRIO_PROCESS, 0)} (use docker run --cap-add SYS_NICE)",
        )
    if limits.oom_score_adj is not None and not _may_set_oom_score_adj(limits.oom_score_adj):
        yield (
            "oom_score_adj",
            "cannot be lower than cohabit's own (use docker run --oom-score-adj for the whole container)",
        )


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


def _has(which: str, capability: int, *, unknown: bool = False) -> bool:
    """Whether a capability is in one of cohabit's sets. unknown: the answer without /proc."""
    try:
        with open("/proc/self/status", encoding="utf-8", errors="replace") as file:
            line = next((line for line in file if line.startswith(f"{which}:")), "")
    except OSError:
        return unknown
    return bool(int(line.split()[1], 16) >> capability & 1) if line else unknown
