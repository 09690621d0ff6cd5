"""Advice on common mistakes, for `cohabit why`.

Sources, the most specific first: the service's output, its exit code, the results of its probe. Each piece of advice
is one sentence that can be read alone. There is no advice without evidence. Pure.
"""

from __future__ import annotations

import re
from shlex import join, quote
from typing import TYPE_CHECKING

from cohabit.errors import EXIT_CANNOT_RUN, EXIT_KILLED, EXIT_NOT_FOUND
from cohabit.plan import reason as reasons
from cohabit.plan.file_words import word
from cohabit.rendering.formatting import size
from cohabit.rendering.log_hints import (
    hints_from_output,
    missing_program,
    names_stale_file,
    ports_in_use,
    unexecutable_file,
)
from cohabit.units import exit_signal, format_duration, signal_name

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cohabit.api.status import BlockedOutput, ContainerStatus, ProbeResult, ServiceStatus
    from cohabit.plan.reason import Reason

_SHELLS = frozenset({"sh", "bash", "dash", "ash", "zsh", "ksh"})
_AFTER_COLON = re.compile(r":(\d{1,5})\b")
_NUMBER = re.compile(r"(?<![\d.])\d{2,5}(?![\d.])")

# Programs that daemonize by default, or are often started so: the command that stays in the foreground.
# doctor/known.py says the same of each; a test compares the two.
FOREGROUND_COMMANDS = {
    "nginx": "nginx -g 'daemon off;'",
    "apache2": "apache2ctl -D FOREGROUND",  # Debian's apache2 alone lacks the variables of /etc/apache2/envvars
    "apache2ctl": "apache2ctl -D FOREGROUND",
    "apachectl": "apachectl -D FOREGROUND",
    "httpd": "httpd -D FOREGROUND",
    "php-fpm": "php-fpm -F",
    "redis-server": "redis-server --daemonize no",
    "sshd": "/usr/sbin/sshd -D -e",
    "cron": "cron -f",
    "crond": "crond -f (busybox) or crond -n (cronie)",
    "rsyslogd": "rsyslogd -n",
    "named": "named -f",
    "unbound": "unbound -d",
    "dnsmasq": "dnsmasq -k",
    "squid": "squid -N",
    "postfix": "postfix start-fg",
    "proftpd": "proftpd --nodaemon",
    "supervisord": "supervisord -n, or one service for each of its programs",
    "pm2": "pm2-runtime, or node with the script (cohabit restarts it)",
    "pg_ctl": "postgres itself, not pg_ctl",
    "pg_ctlcluster": "pg_ctlcluster --foreground VERSION CLUSTER start",
    "service": "the program itself in the foreground, not `service`",
    "systemctl": "the program of the unit's ExecStart= line, not `systemctl`",
    "memcached": "memcached without -d",
    "haproxy": "haproxy -W -db",
    "gunicorn": "gunicorn without --daemon",
    "uwsgi": "uwsgi without --daemonize",
    "celery": "celery worker without --detach",
}

# By exit code: who sends the signal, and what it means in other cases.
_SENDERS: dict[int, str] = {
    128 + 1: "SIGHUP comes from a closing terminal, a `kill` in a script, or `cohabit kill`",
    128 + 2: "SIGINT comes from ^C in a terminal, a `kill` in a script, or `cohabit kill`",
    128 + 9: "SIGKILL comes from `kill -9`, or from the kernel when memory is exhausted (see the log of the host)",
    128 + 15: "SIGTERM comes from another process, such as a `kill` in a script, or from `cohabit kill`",
}
_BY_CODE: dict[int, str] = {
    128 + 4: "it used an instruction that this CPU lacks (use a build for an older or generic CPU)",
    128 + 6: "it aborted: a failed assertion or corrupted memory (its last lines may say which)",
    128 + 7: "often full shared memory: /dev/shm has 64 MiB by default (raise it: `docker run --shm-size`)",
    128 + 8: "an arithmetic error such as a division by zero: a bug in the program",
    128 + 11: "a crash in native code: a bug, or libraries of another version or libc (Alpine uses musl) "
    "(`ulimits: {core: -1}` enables core files)",
    128 + 13: "the reader of a pipe or socket that it writes to has closed it",
    128 + 24: "it used up its CPU time (raise `ulimits: cpu`)",
    128 + 25: "it wrote a file larger than its limit (raise `ulimits: fsize`)",
    128 + 31: "it made a system call that seccomp forbids (`docker run --security-opt seccomp=...`)",
}
# By the cause of a failed start; {} is its path.
_INTERPRETER = (
    "check the first line of {}: it must be #! and an interpreter that is in the image; Windows line ends (CRLF) make "
    "the interpreter's name wrong: save the file with LF"
)
_NOT_EXECUTABLE = "{} exists but cannot be executed: check its mode (`chmod +x`), its #! line, and its CPU architecture"
_BY_START_FAILURE: dict[str, str] = {
    reasons.NO_DIRECTORY: "create the directory {} in the image, mount it, or correct its `{directory}`",
    reasons.DIRECTORY_FORBIDDEN: "its user has no permission to enter {}: check the directory's owner and mode, and "
    "its `{user}`",
    reasons.NO_INTERPRETER: _INTERPRETER,
    reasons.NO_LOADER: "{} was built for another C library: use an image with that library (Alpine has musl), "
    "install it, or build the program statically",
    reasons.UNKNOWN_FORMAT: _INTERPRETER,
    reasons.NOT_EXECUTABLE: _NOT_EXECUTABLE,
    reasons.EXEC_FAILED: _NOT_EXECUTABLE,
    reasons.NOT_PRIVILEGED: "start the container as root (cohabit then changes to its `{user}`), or remove `{user}`",
}


def exit_advice(service: ServiceStatus, container: ContainerStatus) -> list[str]:
    """Advise on the end of the last run."""
    reason = service.last_reason
    if service.ran_out_of_memory:
        return [_memory_advice(container)]
    if reason is not None and reason.kind == reasons.UNHEALTHY:
        return probe_advice(service)
    if reason is not None and reason.kind == reasons.CANNOT_START and reason.cause is not None:
        return _start_advice(service, reason.cause)
    found = hints_from_output(service.output or (), supervisord=service.of_supervisord)
    if service.code == 0 and found and names_stale_file(service.output or ()):
        return found  # apache2 ends with 0 if it believes that it is running already
    if service.code == 0:
        return [*found, _background_advice(service)]
    if service.code is None or (reason is not None and reason.kind in reasons.HOOKS):
        return found  # the code of a hook says nothing about the command
    return found + _exit_code_advice(service, service.code, container)


def probe_advice(service: ServiceStatus) -> list[str]:
    """Advise on a probe that fails."""
    probe = service.probe
    if probe is None:
        return []
    failed = next((result for result in reversed(service.results) if not result.passed), None)
    found = hints_from_output(service.output or (), supervisord=service.of_supervisord) + _failure_advice(
        probe.kind, failed, service
    )
    if service.health == "starting" and probe.failures:
        now = format_duration(probe.start_period_seconds)
        found.append(f"{_word(service, 'more time to start')} (now {now})")
    return found


def blocked_advice(service: ServiceStatus, output: BlockedOutput) -> list[str]:
    """Advise on a log destination that accepts no output."""
    if output.destination in {"stdout", "stderr"}:
        cause = (
            "make room on its disk" if output.why else "what reads the container's output does not read it: resume it"
        )
    elif output.destination.startswith("/"):
        cause = (
            f"make room on its file system, or correct `{_word(service, 'path of a log')}` or its permissions"
            if output.why
            else ("its file system does not answer: check its server or its disk")
        )
    else:
        cause = "check that the syslog server runs and can be reached"
    return [cause, f"to drop lines instead of waiting: {_word(service, 'dropping lines')}"]


def buffer_advice(service: ServiceStatus) -> list[str]:
    """Advise on a program that has written nothing: it runs, or its buffer was lost when a signal killed it."""
    if service.state != "RUNNING" and exit_signal(service.code or 0) is None:
        return []
    environment, terminal = _word(service, "environment"), _word(service, "terminal")
    unbuffered = f"Python: set PYTHONUNBUFFERED=1 in `{environment}`; programs in C: `stdbuf -oL`{terminal}"
    return [f"its output may still be in its own buffer, since it does not write to a terminal ({unbuffered})"]


def stop_advice(service: ServiceStatus) -> list[str]:
    """Advise on a service that does not end after its stop signal."""
    signal = service.stop_signal or "the stop signal"
    longer = f"if it needs more time to finish its work: raise `{_word(service, 'grace')}`"
    found = [f"{longer}; if it ignores {signal}: set the `{_word(service, 'signal')}` that it handles"]
    if program(service) in _SHELLS:
        found.insert(
            0,
            f"its command is a shell, which does not forward {signal}: end the script with `exec PROGRAM`, or set "
            f"`{_word(service, 'signal to all')}`",
        )
    return found


def _word(service: ServiceStatus, meaning: str) -> str:
    return word(meaning, supervisord=service.of_supervisord)


def program(service: ServiceStatus) -> str:
    """Return the name of its program, without the directory."""
    return service.command[0].rpartition("/")[2] if service.command else ""


def _memory_advice(container: ContainerStatus) -> str:
    limit = container.memory_limit
    where = (
        f"the container ran out of its {size(limit)} of memory"
        if limit
        else ("the machine, or a limit above the container, ran out of memory")
    )
    return (
        f"{where}: reduce workers, heap or caches, or raise the limit (`docker run --memory`); "
        "`cohabit top` shows the use of each service"
    )


def _start_advice(service: ServiceStatus, cause: Reason) -> list[str]:
    """Advise on a command that could not be executed; some reasons say themselves what to do."""
    if cause.kind in {reasons.NOT_IN_PATH, reasons.NOT_FOUND}:
        return [_not_found_advice(cause.path)]
    if cause.kind == reasons.ARGUMENTS_TOO_LONG and cause.detail:
        return ["pass the value in a file: the kernel limits one argument or variable to 128 KiB"]
    words = {meaning: _word(service, meaning) for meaning in ("directory", "user")}
    return [_BY_START_FAILURE[cause.kind].format(cause.path, **words)] if cause.kind in _BY_START_FAILURE else []


def _exit_code_advice(service: ServiceStatus, code: int, container: ContainerStatus) -> list[str]:
    reason = service.last_reason
    if reason is not None and reason.kind == reasons.STOP_TIMED_OUT:
        return stop_advice(service)
    if reason is not None and reason.kind in {reasons.KILLED_ON_REQUEST, reasons.STOPPED_UNASKED}:
        return []
    is_shell = program(service) in _SHELLS
    name = service.command[0] if service.command else "its command"
    if code == EXIT_NOT_FOUND and is_shell:
        missing = missing_program(service.output or ()) or "a program"
        return [f"the shell did not find {missing}: install it in the image, or write its full path"]
    if code == EXIT_NOT_FOUND:
        return [_not_found_advice(name)]
    if code == EXIT_CANNOT_RUN:
        found = unexecutable_file(service.output or ()) or "a program that its shell runs"
        return [_NOT_EXECUTABLE.format(found if is_shell else name)]
    signal = exit_signal(code)
    if signal is not None and is_shell:
        killed = f"{signal_name(signal)} killed the shell or its child, or the script itself ended with that code"
        return [f"exit code {code}: {killed}", *([_BY_CODE[code]] if code in _BY_CODE else [])]
    if code in _SENDERS:
        limited = code == EXIT_KILLED and container.memory_limit
        limit = f"; the container's limit of memory is {size(container.memory_limit or 0)}" if limited else ""
        return [f"not a stop by cohabit: {_SENDERS[code]}{limit}"]
    return [_BY_CODE[code]] if code in _BY_CODE else []


def _not_found_advice(name: str) -> str:
    if " " in name:
        return f"the command is a single argument, {name!r}: write it as a list with one item per argument"
    if "/" in name:
        return f"{name}, the interpreter in its #! line or its dynamic loader (glibc on Alpine) is not in the image"
    return f"{name} is not installed in the image, or not in PATH: install it, or write its full path"


def _background_advice(service: ServiceStatus) -> str:
    name = program(service)
    stem = name.rstrip("0123456789.")
    known = FOREGROUND_COMMANDS.get(name) or FOREGROUND_COMMANDS.get(stem)
    start = "it probably daemonized"
    if known:
        return f"{start}: run {known}"
    if name in _SHELLS:
        return (
            "its script ended: end it with `exec PROGRAM` in the foreground; or, if it is a job, "
            f"{_word(service, 'job')}"
        )
    daemon, job = _word(service, "or daemon"), _word(service, "is a job")
    return f"{start} (run it in the foreground{daemon}), or its work is done (then it is a job: {job})"


def _failure_advice(kind: str, failed: ProbeResult | None, service: ServiceStatus) -> list[str]:
    if kind in {"notify", "fd", "log"}:
        return [_readiness_advice(kind, service)]
    reason = failed.reason if failed else None
    if kind == "exec":
        return _exec_probe_advice(reason, failed.output if failed else "", service)
    if reason is None:
        return []
    if reason.kind == reasons.PROBE_TIMED_OUT:
        short = f"`{_word(service, 'probe timeout')}` is too short"
        return [f"no answer in time: the server hangs or is overloaded, packets are dropped, or {short}"]
    if reason.kind in {reasons.CONNECTION_REFUSED, reasons.NO_SOCKET}:
        return [_refused_advice(kind, service)]
    if reason.kind == reasons.NOT_HTTP:
        return ["the server does not speak HTTP: another server's port, or TLS (for TLS use CMD with curl -k)"]
    if reason.kind == reasons.HTTP_STATUS:
        return [_http_advice(reason.code or 0, _word(service, "healthcheck"))]
    if reason.kind == reasons.CONNECTION_FORBIDDEN:
        return ["process 1 has no permission for that socket: check its mode and that of its directory"]
    return []


def _refused_advice(kind: str, service: ServiceStatus) -> str:
    text = service.probe.text if service.probe else ""
    if kind == "unix" or "unix:" in text:
        return f"no process listens on that socket: check that {service.name} creates it at this path"
    other = "127.0.0.1" if "[::1]" in text or "localhost" in text else "[::1]"
    return (
        f"no process listens there: {service.name} may listen on another port, or only on another address ({other}, "
        "or the container's own): `ss -ltn` in the container shows it"
    )


def _http_advice(status: int, healthcheck: str) -> str:
    if status == 404:  # noqa: PLR2004
        return f"the server has nothing at this path: check the path in `{healthcheck}`"
    if status in {401, 403}:
        return "the server requires a login: probe a path without one, or list the code as one that passes"
    if status == 400:  # noqa: PLR2004
        return "the server rejects the request: some frameworks check the Host header (ALLOWED_HOSTS)"
    if 500 <= status < 600:  # noqa: PLR2004
        return "the server reports an error of its own: see its log"
    return "the server answers with a code that the probe does not accept"


def _exec_probe_advice(reason: Reason | None, output: str, service: ServiceStatus) -> list[str]:
    kind, printed = reason.kind if reason else "", output.lower()
    if kind == reasons.PROBE_NOT_RUN or "not found" in printed or "no such file" in printed:
        return ["the probe's program is not in the image: install it, or use a TCP or HTTP probe, which needs none"]
    manual_run = f"run the probe manually: `cohabit exec {service.name} -- {_probe_command(service)}`"
    if kind == reasons.PROBE_TIMED_OUT and service.probe:
        within = format_duration(service.probe.timeout_seconds)
        short = f"`{_word(service, 'probe timeout')}` is too short"
        return [f"its probe command did not end within {within}: it hangs, or {short}; {manual_run}"]
    return [manual_run]


def _probe_command(service: ServiceStatus) -> str:
    """Quote the probe's command for a shell. Its argument boundaries are not known, but a shell's script is one."""
    text = (service.probe.text if service.probe else "").partition(" ")[2]
    shell, flag, script = text.partition(" -c ")
    if flag and shell.rpartition("/")[2] in _SHELLS:
        return f"{shell} -c {quote(script)}"
    return join(text.split()) or "..."


def port_advice(service: ServiceStatus, others: Iterable[ServiceStatus]) -> list[str]:
    """Name another service whose command or probe contains the port that this service could not bind."""
    ports = ports_in_use(service.output or ())
    if ports is None:
        return []
    for port in dict.fromkeys([*ports, *_ports_of(service)]):
        for other in others:
            if other.name != service.name and not other.at_rest and port in _ports_of(other):
                return [
                    f"port {port} is also in the command or probe of {other.name}: give one of the two another port"
                ]
    return []


def _ports_of(service: ServiceStatus) -> list[str]:
    """List the numbers in its probe and command that look like ports."""
    probe_text = service.probe.text if service.probe else ""
    return [*_AFTER_COLON.findall(probe_text), *_NUMBER.findall(" ".join(service.command))]


def _readiness_advice(kind: str, service: ServiceStatus) -> str:
    if kind == "notify":
        return (
            "it must send READY=1 to the socket in NOTIFY_SOCKET (sd_notify): if the program does not support this, "
            "or a wrapper removes the variable, use a TCP or HTTP probe"
        )
    if kind == "fd":
        return (
            "it must write a newline to that descriptor: if the program does not support this, use a TCP or HTTP probe"
        )
    return f"no line of its output has matched: compare the pattern with `cohabit logs {service.name}`"
