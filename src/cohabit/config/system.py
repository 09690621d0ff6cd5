"""Whether this machine can run the Plan: programs, directories, users, permissions, log files.

Checked before anything starts, so that a failure does not leave some services running. A service that waits for a job,
directly or through other services, is not checked: the job may install its program. Nor is one whose conditions do not
hold now: it may be there only for containers in which they do.
"""

from __future__ import annotations

import errno
import os
import stat
from functools import cache
from typing import TYPE_CHECKING

from cohabit import paths
from cohabit.config.keys.sockets import check_sockets
from cohabit.config.permission_checks import check_file_variables, check_permissions
from cohabit.config.secret_files import check_secret_files
from cohabit.errors import EXIT_CANNOT_RUN, EXIT_NOT_FOUND
from cohabit.plan.conditions import unmet
from cohabit.plan.draft import UNREADABLE, Diagnostic, SourceLocation
from cohabit.plan.model import COMPLETED, ENVIRONMENT, POST_START, POST_STOP, PRE_START, PRE_STOP
from cohabit.plan.order import start_order
from cohabit.program import program
from cohabit.units import DEFAULT_PATH

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from cohabit.plan.draft import Draft, DraftService
    from cohabit.plan.model import Plan, Service

_LONGEST_FIRST_LINE = 256  # bytes: the kernel reads no more of a script's first line

_SWITCH_CAPABILITIES = 1 << 6 | 1 << 7  # CAP_SETGID, CAP_SETUID


def check_machine(
    plan: Plan, draft: Draft, environ: Mapping[str, str], *, build: bool = False
) -> tuple[Diagnostic, ...]:
    """A diagnostic for each obstacle to starting the services on this machine.

    build: the image is being built: conditions on variables may hold later.
    """
    _why_not.cache_clear()  # services have commands in common: a file is examined once, but at each check anew
    waits = _waiting_for_jobs(plan)
    whole, skipped = plan, skipped_now(plan, environ, build=build)
    plan = plan.replace(services={name: each for name, each in plan.services.items() if each.service not in skipped})
    one_of_each = {service.service: service for name, service in plan.services.items() if name not in waits}
    found = [
        diagnostic
        for name, service in one_of_each.items()
        for key, process in _processes(service.replace(name=name))
        for diagnostic in _check_process(process, key, draft.services[name], environ)
    ]
    for name, service in one_of_each.items():
        found += check_file_variables(service, draft.services[name], whole)
    for service in {service.service: service for service in plan.services.values()}.values():
        found += check_permissions(service, draft.services[service.service])
    found += _check_log_files(whole, draft)
    found += _check_own_files(whole, draft.where, draft.files)
    return (*found, *check_sockets(whole, draft), *check_secret_files(plan, draft, environ))


def skipped_now(plan: Plan, environ: Mapping[str, str], *, build: bool = False) -> dict[str, str]:
    """The services of the file that would be skipped if they started now, each with what is the case."""
    found = {}
    for service in plan.services.values():
        try:
            known = [each for each in service.conditions if not (build and each.kind == ENVIRONMENT)]
            why = unmet(known, environ, paths.holds)
        except OSError:
            continue  # the start reports it
        if why is not None:
            found[service.service] = why
    return found


def _check_log_files(plan: Plan, draft: Draft) -> Iterator[Diagnostic]:
    """Paths of `logging` that exist and are not regular files; directories in which other users can create links."""
    wanted = [("x-cohabit", draft.where, plan.logging)]
    for service in {service.service: service for service in plan.services.values()}.values():
        item = draft.services[service.service]
        wanted.append((f"services.{service.service}", item.place("logging"), service.logging))
    reported: set[str] = set()
    for key, location, entries in wanted:
        for path in [entry.path for entry in entries if entry.driver == "file" and entry.path not in reported]:
            why = _why_no_log_file(path)
            if why:
                reported.add(path)
                yield Diagnostic(location, f"{key}.logging: cannot write {path}: {why}")
                continue
            directory = path.rpartition("/")[0] or "/"
            weakness = paths.who_can_change(directory) if os.geteuid() == 0 else ""
            if weakness and directory not in reported:
                reported.add(directory)
                what = "links in it are not followed, and other users may remove or change files in it"
                advice = f"chown root {directory}; chmod go-w {directory}"
                yield Diagnostic(location, f"{key}.logging: {weakness}: {what} ({advice})", warning=True)


def _check_own_files(plan: Plan, location: SourceLocation, files: Sequence[str]) -> Iterator[Diagnostic]:
    """Warn of services that can change a file or the program that root reads or runs at a reload."""
    if os.geteuid() != 0:
        return
    services = {service.user.uid: service for service in plan.services.values() if service.user and service.user.uid}
    for path in (*(files or (location.file,)), __file__, os.path.realpath(program("cohabit")[0])):
        try:
            found = [os.stat(each) for each in (path, os.path.dirname(path) or ".")]
        except OSError:
            continue  # a command line, or standard input
        world_writable = any(status.st_mode & (stat.S_IWOTH | stat.S_ISVTX) == stat.S_IWOTH for status in found)
        able = set(services) if world_writable else {status.st_uid for status in found}.intersection(services)
        if able:
            uid = min(able)
            name = services[uid].service
            text = f"services.{name}: user {uid} can change {path} and so become root at a reload"
            yield Diagnostic(location, f"{text} (chown root and chmod go-w the file and its directory)", warning=True)


def _why_no_log_file(path: str) -> str:
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return ""  # it is created at the first line, and errors are reported then
    if stat.S_ISDIR(mode):
        return "it is a directory (name a file in it)"
    return "" if stat.S_ISREG(mode) else "it is not a regular file (for the container's output, write driver: raw)"


def _waiting_for_jobs(plan: Plan) -> set[str]:
    waits: set[str] = set()
    for name in start_order(plan):
        for dependency in plan.services[name].depends_on:
            if dependency.condition == COMPLETED or dependency.service in waits:
                waits.add(name)
    return waits


def _why_no_switch() -> str:
    """Why cohabit cannot change users: it needs CAP_SETUID and CAP_SETGID, which root usually has."""
    if os.geteuid() != 0:
        return f"cohabit runs as uid {os.geteuid()}, not as root (start it as root, or remove user)"
    try:
        with open("/proc/self/status", encoding="ascii", errors="replace") as file:
            effective = next((int(line[7:], 16) for line in file if line.startswith("CapEff:")), None)
    except OSError:
        return ""  # unknown: the start fails with the reason
    if effective is None or effective & _SWITCH_CAPABILITIES == _SWITCH_CAPABILITIES:
        return ""
    return "cohabit does not have both CAP_SETUID and CAP_SETGID (add them to the container, or remove user)"


def _processes(service: Service) -> Iterator[tuple[str, Service]]:
    """Each process of a service as (key, Service): its command with the key "", its probe and its hooks.

    A pre_start hook ends the list: like a job, it may install the other programs.
    """
    for stage in (PRE_START, "", POST_START, PRE_STOP, POST_STOP):
        if not stage:
            yield "", service
            if service.probe and service.probe.command:
                yield "healthcheck", service.replace(name=f"the probe of {service.name}", command=service.probe.command)
        for hook in service.hooks(stage) if stage else ():
            yield (
                stage,
                service.replace(
                    name=f"the {stage} hook of {service.name}",
                    command=hook.command,
                    environment={**service.environment, **hook.environment},
                    working_dir=hook.working_dir or service.working_dir,
                    user=hook.user or service.user,
                ),
            )
            if stage == PRE_START:
                return


def _check_process(service: Service, key: str, item: DraftService, environ: Mapping[str, str]) -> Iterator[Diagnostic]:
    """Each obstacle to starting one process. For a probe it is a warning: the service only becomes unhealthy."""
    warning = key == "healthcheck"
    if service.user and (service.user.uid, service.user.gid) != (os.geteuid(), os.getegid()):
        why = _why_no_switch()
        if why:
            user = f"{service.user.name or 'user'} (uid {service.user.uid}, gid {service.user.gid})"
            yield Diagnostic(item.place(key or "user"), f"cannot run {service.name} as {user}: {why}", warning)
    directory = service.working_dir or ""
    if directory:
        why = _why_no_directory(directory)
        if why:
            text = f"cannot start {service.name} in {directory}: {why} (create it, or change working_dir)"
            yield Diagnostic(item.place(key or "working_dir"), text, warning)
            return
    location = item.place(key or ("command" if "command" in item.written else "entrypoint"))
    for text, exit_code in _check_command(service, directory, environ):
        yield Diagnostic(location, text, warning, exit_code)


def _why_no_directory(path: str) -> str:
    try:
        mode = os.stat(path).st_mode
    except OSError as error:
        return "no such directory" if error.errno == errno.ENOENT else str(error.strerror)
    return "" if stat.S_ISDIR(mode) else "it is not a directory"


def _check_command(service: Service, directory: str, environ: Mapping[str, str]) -> Iterator[tuple[str, int]]:
    """(text, exit code) of what prevents the command from starting."""
    program = service.command[0]
    if program == UNREADABLE:
        return  # a variable of it is not set, which is a note in a build
    start = f"cannot start {service.name}"
    if "/" in program:
        path = os.path.join(directory, program)
        why, code = _why_not(path)
        if code == EXIT_NOT_FOUND:
            yield f"{start}: {path} does not exist (install it, or correct the path)", EXIT_NOT_FOUND
        elif code:
            yield f"{start}: {path}: {why}", EXIT_CANNOT_RUN
        else:
            yield from _check_interpreter(start, path)
        return
    search = service.environment.get("PATH", environ.get("PATH")) or DEFAULT_PATH
    blocked = ""
    for entry in search.split(":"):
        path = os.path.join(directory, entry, program)
        why, code = _why_not(path)
        if not code:
            yield from _check_interpreter(start, path)
            return
        if code != EXIT_NOT_FOUND and not blocked:
            blocked = f"{path}: {why}"
    if blocked:
        yield f"{start}: {blocked}", EXIT_CANNOT_RUN
    else:
        yield f"{start}: {program!r} is not found in PATH (install it, or write its absolute path)", EXIT_NOT_FOUND


@cache
def _why_not(path: str) -> tuple[str, int]:
    """Why the kernel would not execute a file, with the exit code; ("", 0) if it would."""
    try:
        mode = os.stat(path).st_mode
    except OSError as error:
        missing = error.errno in (errno.ENOENT, errno.ENOTDIR)
        return str(error.strerror), EXIT_NOT_FOUND if missing else EXIT_CANNOT_RUN
    if stat.S_ISDIR(mode):
        return "it is a directory (name a program in it)", EXIT_CANNOT_RUN
    if not stat.S_ISREG(mode) or not os.access(path, os.X_OK):
        return "it is not executable (chmod +x)", EXIT_CANNOT_RUN
    return "", 0


def _check_interpreter(start: str, path: str) -> Iterator[tuple[str, int]]:
    """Check the interpreter of a script. If it is missing, the kernel's ENOENT seems to mean the script."""
    try:
        with open(path, "rb", buffering=0) as file:
            first = file.read(_LONGEST_FIRST_LINE).split(b"\n", 1)[0]
    except OSError:
        return  # a program may be executable and not readable
    arguments = first[2:].split(None, 1) if first.startswith(b"#!") else []
    if first.startswith(b"#!") and first.endswith(b"\r"):
        yield f"{start}: {path} has Windows line endings (save it with Unix line endings)", EXIT_NOT_FOUND
    elif arguments and not os.path.exists(arguments[0]):
        interpreter = os.fsdecode(arguments[0])
        yield f"{start}: {path} needs {interpreter}, which does not exist (install it)", EXIT_NOT_FOUND
