"""Whether this machine has what the Plan asks for: programs, directories, the right to change users.

Found out before anything starts, so that nothing is half-started. A service that waits for a job, directly
or through others, is left out: the job may be what puts its program there.
"""

from __future__ import annotations

import errno
import os
import stat
import sys
from typing import TYPE_CHECKING

from cohabit import paths
from cohabit.config.keys.sockets import check_sockets
from cohabit.config.permission_checks import check_rights, check_secret_files
from cohabit.config.secret_files import check_deliveries
from cohabit.errors import EXIT_CANNOT_RUN, EXIT_NOT_FOUND
from cohabit.plan.draft import Diagnostic, SourceLocation
from cohabit.plan.model import COMPLETED, POST_START, PRE_START, PRE_STOP
from cohabit.plan.order import start_order

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from cohabit.plan.draft import Draft, DraftService
    from cohabit.plan.model import Plan, Service

# What execvp(3) and Docker's images fall back to.
_DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_LONGEST_FIRST_LINE = 256  # the kernel reads no more of a script's first line

_TO_SWITCH = 1 << 6 | 1 << 7  # CAP_SETGID, CAP_SETUID


def check_machine(plan: Plan, draft: Draft, environ: Mapping[str, str]) -> tuple[Diagnostic, ...]:
    """What stands in the way of starting the services, one problem for each obstacle."""
    waits = _waiting_for_jobs(plan)
    one_of_each = {service.service: service for name, service in plan.services.items() if name not in waits}
    found = [
        problem
        for name, service in one_of_each.items()
        for key, process in _processes(service.replace(name=name))
        for problem in _check_process(process, key, draft.services[name], environ)
    ]
    for name, service in one_of_each.items():
        found += check_secret_files(service, draft.services[name], plan)
    for service in {service.service: service for service in plan.services.values()}.values():
        found += check_rights(service, draft.services[service.service])
    found += _check_log_files(plan, draft)
    found += _check_own_files(plan, draft.where)
    return (*found, *check_sockets(plan, draft), *check_deliveries(plan, draft, environ))


def _check_log_files(plan: Plan, draft: Draft) -> Iterator[Diagnostic]:
    """Files of `logging` that are there and are none, and directories in which others can put links."""
    wanted = [("x-cohabit", draft.where, plan.logging)]
    for service in {service.service: service for service in plan.services.values()}.values():
        item = draft.services[service.service]
        wanted.append((f"services.{service.service}", item.place("logging"), service.logging))
    told: set[str] = set()
    for key, where, entries in wanted:
        for path in [entry.path for entry in entries if entry.driver == "file" and entry.path not in told]:
            why = _why_no_log_file(path)
            if why:
                told.add(path)
                yield Diagnostic(where, f"{key}.logging: cannot write {path}: {why}")
                continue
            directory = path.rpartition("/")[0] or "/"
            who = paths.who_can_change(directory) if os.geteuid() == 0 else ""
            if who and directory not in told:
                told.add(directory)
                what = "no link is followed there, and files in it may be removed or changed by others"
                advice = (
                    f"write to a directory that only root can change: chown root {directory}; chmod go-w {directory}"
                )
                yield Diagnostic(where, f"{key}.logging: {who}: {what} ({advice})", warning=True)


def _check_own_files(plan: Plan, where: SourceLocation) -> Iterator[Diagnostic]:
    """Whether a service can change the file, or the program, that root reads or runs again: it would be root, too."""
    if os.geteuid() != 0:
        return
    services = {service.user.uid: service for service in plan.services.values() if service.user and service.user.uid}
    for path in (where.file, __file__, os.path.realpath(sys.executable)):
        try:
            found = [os.stat(each) for each in (path, os.path.dirname(path) or ".")]
        except OSError:
            continue  # a command line, or standard input
        everybody = any(status.st_mode & (stat.S_IWOTH | stat.S_ISVTX) == stat.S_IWOTH for status in found)
        able = set(services) if everybody else {status.st_uid for status in found}.intersection(services)
        if able:
            uid = min(able)
            text = f"{services[uid].service} runs as user {uid}, who can change {path}, and so become root by a reload"
            yield Diagnostic(where, f"{text} (chown root it and its directory, and chmod go-w both)", warning=True)


def _why_no_log_file(path: str) -> str:
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return ""  # it is made when it is needed, and what is in the way then is told then
    if stat.S_ISDIR(mode):
        return "it is a directory (name a file in it)"
    return "" if stat.S_ISREG(mode) else "it is no regular file (for the container's output, write driver: raw)"


def _waiting_for_jobs(plan: Plan) -> set[str]:
    waits: set[str] = set()
    for name in start_order(plan):
        for dependency in plan.services[name].depends_on:
            if dependency.condition == COMPLETED or dependency.service in waits:
                waits.add(name)
    return waits


def _why_no_switch() -> str:
    """Why we cannot become another user: that takes two capabilities, which root usually has (capabilities(7))."""
    if os.geteuid() != 0:
        return f"we are uid {os.geteuid()}, not root (start as root, or remove user)"
    try:
        with open("/proc/self/status", encoding="ascii", errors="replace") as file:
            effective = next((int(line[7:], 16) for line in file if line.startswith("CapEff:")), None)
    except OSError:
        return ""  # then the start will tell
    if effective is None or effective & _TO_SWITCH == _TO_SWITCH:
        return ""
    return "the capabilities SETUID and SETGID were taken from us (give them back, or remove user)"


def _processes(service: Service) -> Iterator[tuple[str, Service]]:
    """What is run for a service, each as if it were one, with its key; its own command has none.

    A pre_start hook ends the list: like a job, it may be what puts the rest there.
    """
    for stage in (PRE_START, "", POST_START, PRE_STOP):
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
    """Every obstacle; a probe that cannot run is a warning, for it makes the service unhealthy and no more."""
    warning = key == "healthcheck"
    if service.user and (service.user.uid, service.user.gid) != (os.geteuid(), os.getegid()):
        why = _why_no_switch()
        if why:
            who = f"{service.user.name or 'the user'} (uid {service.user.uid}, gid {service.user.gid})"
            yield Diagnostic(item.place(key or "user"), f"cannot run {service.name} as {who}: {why}", warning)
    directory = service.working_dir or ""
    if directory:
        why = _why_no_directory(directory)
        if why:
            text = f"cannot start {service.name} in {directory}: {why} (make it, or change working_dir)"
            yield Diagnostic(item.place(key or "working_dir"), text, warning)
            return
    place = item.place(key or ("command" if "command" in item.places else "entrypoint"))
    for text, exit_code in _check_command(service, directory, environ):
        yield Diagnostic(place, text, warning, exit_code)


def _why_no_directory(path: str) -> str:
    try:
        mode = os.stat(path).st_mode
    except OSError as error:
        return "no such directory" if error.errno == errno.ENOENT else str(error.strerror)
    return "" if stat.S_ISDIR(mode) else "it is no directory"


def _check_command(service: Service, directory: str, environ: Mapping[str, str]) -> Iterator[tuple[str, int]]:
    """The sentence and exit code of what keeps the command from starting."""
    program = service.command[0]
    start = f"cannot start {service.name}"
    if "/" in program:
        path = os.path.join(directory, program)
        why = _why_not(path)
        if why == "no such file":
            yield f"{start}: {path} is not there (install it, or correct the path)", EXIT_NOT_FOUND
        elif why:
            yield f"{start}: {path}: {why}", EXIT_CANNOT_RUN
        else:
            yield from _check_interpreter(start, path)
        return
    search = service.environment.get("PATH", environ.get("PATH")) or _DEFAULT_PATH
    blocked = ""
    for entry in search.split(":"):
        path = os.path.join(directory, entry, program)
        why = _why_not(path)
        if not why:
            yield from _check_interpreter(start, path)
            return
        if why != "no such file" and not blocked:
            blocked = f"{path}: {why}"
    if blocked:
        yield f"{start}: {blocked}", EXIT_CANNOT_RUN
    else:
        yield f"{start}: {program!r} is not in its PATH (install it, or give its whole path)", EXIT_NOT_FOUND


def _why_not(path: str) -> str:
    """Why the kernel would not execute a file; empty if it would."""
    try:
        mode = os.stat(path).st_mode
    except OSError as error:
        missing = error.errno in (errno.ENOENT, errno.ENOTDIR)
        return "no such file" if missing else str(error.strerror)
    if stat.S_ISDIR(mode):
        return "it is a directory (name a program in it)"
    if not stat.S_ISREG(mode) or not os.access(path, os.X_OK):
        return "it is not executable (chmod +x)"
    return ""


def _check_interpreter(start: str, path: str) -> Iterator[tuple[str, int]]:
    """A script whose interpreter is not there: the kernel would say "no such file" of the script itself."""
    try:
        with open(path, "rb", buffering=0) as file:
            first = file.read(_LONGEST_FIRST_LINE).split(b"\n", 1)[0]
    except OSError:
        return  # executable but not readable is fine
    words = first[2:].split(None, 1) if first.startswith(b"#!") else []
    if first.startswith(b"#!") and first.endswith(b"\r"):
        yield f"{start}: {path} has Windows line ends (save it with Unix line ends)", EXIT_NOT_FOUND
    elif words and not os.path.exists(words[0]):
        interpreter = os.fsdecode(words[0])
        yield f"{start}: {path} wants {interpreter}, which is not there (install it)", EXIT_NOT_FOUND
