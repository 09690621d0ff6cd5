"""Advice on common mistakes, for `cohabit why`.

Sources, the most specific first: the service's output, its exit code, the results of its probe. Each piece of advice
is one sentence that can be read alone. There is no advice without evidence. Pure.
"""

from __future__ import annotations

import re
from shlex import join, quote
from typing import TYPE_CHECKING

from cohabit.errors import EXIT_CANNOT_RUN, EXIT_KILLED, EXIT_NOT_FOUND
from cohabit.rendering.log_hints import hints_from_output, missing_program, ports_in_use, unexecutable_file
from cohabit.units import describe_exit, format_duration

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cohabit.api.status import ContainerStatus as Container
    from cohabit.api.status import ServiceStatus as Service

_SHELLS = frozenset({"sh", "bash", "dash", "ash", "zsh", "ksh"})
_NO_DIRECTORY = "cannot start: cannot change to its working directory"  # text of reactor/processes/child.py
_NO_USER = "cannot start: cannot become user"
_NO_INTERPRETER = ("the interpreter that its first line names", "its first line names no interpreter")
_NOT_A_STOP = "not a stop by cohabit"
_SIGNALS = 128
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
    "squid": "squid --foreground",
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

_BY_CODE: dict[int, str] = {
    128 + 1: f"{_NOT_A_STOP}: SIGHUP comes from a closing terminal, a `kill` in a script, or `cohabit kill`",
    128 + 2: f"{_NOT_A_STOP}: SIGINT comes from ^C in a terminal, a `kill` in a script, or `cohabit kill`",
    128 + 4: "it used an instruction that this CPU lacks (use a build for an older or generic CPU)",
    128 + 6: "it aborted: a failed assertion or corrupted memory (its last lines may say which)",
    128 + 7: "often full shared memory: /dev/shm has 64 MiB by default (raise it: `docker run --shm-size`)",
    128 + 8: "an arithmetic error such as a division by zero: a bug in the program",
    128 + 11: "a crash in native code: a bug, or libraries of another version or libc (Alpine uses musl) "
    "(`ulimits: {core: -1}` enables core files)",
    128 + 13: "the reader of a pipe or socket that it writes to has closed it",
    128
    + 15: f"{_NOT_A_STOP}: SIGTERM comes from another process, such as a `kill` in a script, or from `cohabit kill`",
    128 + 24: "it used up its CPU time (raise `ulimits: cpu`)",
    128 + 25: "it wrote a file larger than its limit (raise `ulimits: fsize`)",
    128 + 31: "it made a system call that seccomp forbids (`docker run --security-opt seccomp=...`)",
}


def exit_advice(service: Service, container: Container) -> list[str]:
    """Advise on the end of the last run."""
    if service.out_of_memory:
        return [_memory_advice(container)]
    if service.why.startswith("unhealthy"):
        return probe_advice(service)
    if service.why.startswith(_NO_DIRECTORY):
        return [_directory_advice(service)]
    if service.code in (EXIT_CANNOT_RUN, EXIT_NOT_FOUND):
        return _exit_code_advice(service, service.code)
    found = hints_from_output(service.output or ())
    if service.code == 0:
        return [*found, _background_advice(service)]
    return found if service.code is None else found + _exit_code_advice(service, service.code)


def probe_advice(service: Service) -> list[str]:
    """Advise on a probe that fails."""
    probe = service.probe
    if probe is None:
        return []
    answer = next((result.output for result in reversed(service.results) if not result.passed), "")
    found = hints_from_output(service.output or ()) + _probe_kind_advice(probe.kind, answer, service)
    if service.health == "starting" and probe.failures:
        now = format_duration(probe.start_period_seconds)
        found.append(f"if it only needs more time to start: raise `healthcheck: start_period` (now {now})")
    return found


def stop_advice(service: Service) -> list[str]:
    """Advise on a service that does not end after its stop signal."""
    signal = service.stop_signal or "the stop signal"
    longer = "if it needs more time to finish its work: raise `stop_grace_period`"
    found = [f"{longer}; if it ignores {signal}: set the `stop_signal` that it handles"]
    if program(service) in _SHELLS:
        found.insert(0, f"its command is a shell, which does not forward {signal}: end the script with `exec PROGRAM`")
    return found


def program(service: Service) -> str:
    """Return the name of its program, without the directory."""
    return service.command[0].rpartition("/")[2] if service.command else ""


def _memory_advice(container: Container) -> str:
    where = "the container" if container.memory_limit else "the machine, or a limit above the container,"
    return (
        f"{where} ran out of memory: reduce workers, heap or caches, or raise the limit (`docker run --memory`); "
        "`cohabit top` shows the use of each service"
    )


def _directory_advice(service: Service) -> str:
    what = service.why.removeprefix(_NO_DIRECTORY).strip()
    path, _, why = what.rpartition(": ")
    if "permission" in why:
        return f"its user has no permission to enter {path}: check the directory's owner and mode, and its `user:`"
    return f"create the directory {path or what} in the image, mount it, or correct its `working_dir:`"


def _exit_code_advice(service: Service, code: int) -> list[str]:
    if code in (EXIT_NOT_FOUND, EXIT_CANNOT_RUN) and any(text in service.why for text in _NO_INTERPRETER):
        return [_interpreter_advice(service)]
    if code == EXIT_NOT_FOUND:
        return [_not_found_advice(service)]
    if code == EXIT_CANNOT_RUN:
        return [_not_executable_advice(service)]
    if code == EXIT_KILLED and "it did not stop in time" in service.why:
        return stop_advice(service)
    text = describe_exit(code)
    if code > _SIGNALS and program(service) in _SHELLS and text.startswith("SIG"):
        signal = text.partition(" ")[0]
        cause = f"exit code {code}: {signal} killed the shell or its child, or the script itself ended with that code"
        more = _BY_CODE.get(code, "")
        return [cause, *([more] if more and not more.startswith(_NOT_A_STOP) else [])]
    if code == EXIT_KILLED:
        return [
            f"{_NOT_A_STOP}: SIGKILL comes from `kill -9`, or from the kernel of a host without memory (see its log)"
        ]
    return [_BY_CODE[code]] if code in _BY_CODE else []


def _interpreter_advice(service: Service) -> str:
    name = service.command[0] if service.command else "its command"
    return (
        f"check the first line of {name}: it must be #! and an interpreter that is in the image; Windows line ends "
        "(CRLF) make the interpreter's name wrong: save the file with LF"
    )


def _not_executable_advice(service: Service) -> str:
    if service.why.startswith(_NO_USER):
        return "start the container as root (cohabit then changes to its `user:`), or remove `user:`"
    name = service.command[0] if service.command else "its command"
    if program(service) in _SHELLS and not service.why.startswith("cannot start"):
        name = unexecutable_file(service.output or ()) or "a program that its shell runs"
    return f"{name} exists but cannot be executed: check its mode (`chmod +x`), its #! line, and its CPU architecture"


def _not_found_advice(service: Service) -> str:
    if program(service) in _SHELLS and not service.why.startswith("cannot start"):
        name = missing_program(service.output or ())
        return f"the shell did not find {name or 'a program'}: install it in the image, or write its full path"
    if not service.command:
        return "its command was not found: install it in the image, or write its full path"
    name = service.command[0]
    if " " in name:
        return f"the command is a single argument, {name!r}: write it as a list with one item per argument"
    if "/" in name:
        return f"{name}, the interpreter in its #! line or its dynamic loader (glibc on Alpine) is not in the image"
    return f"{name} is not installed in the image, or not in PATH: install it, or write its full path"


def _background_advice(service: Service) -> str:
    name = program(service)
    stem = name.rstrip("0123456789.")
    known = FOREGROUND_COMMANDS.get(name) or FOREGROUND_COMMANDS.get(stem)
    start = "it probably daemonized"
    if known:
        return f"{start}: run {known}"
    if name in _SHELLS:
        return (
            "its script ended: end it with `exec PROGRAM` in the foreground; or, if it is a job, set "
            "`essential: false` and depend on it with `condition: service_completed_successfully`"
        )
    return (
        f"{start} (run it in the foreground, or set `pid_file:`), or its work is done (then it is a job: "
        "`restart: on-failure`, `essential: false`)"
    )


def _probe_kind_advice(kind: str, answer: str, service: Service) -> list[str]:
    if kind in {"notify", "fd", "log"}:
        return [_readiness_advice(kind, service)]
    lowered = answer.lower()
    if kind == "exec":
        return _exec_probe_advice(lowered, service)
    if "no answer within" in lowered:
        return ["no answer in time: the server hangs or is overloaded, packets are dropped, or `timeout` is too short"]
    if "refused" in lowered or "no such file" in lowered:
        return [_refused_advice(kind, service)]
    if "not an http answer" in lowered:
        return ["the server does not speak HTTP: another server's port, or TLS (for TLS use CMD with curl -k)"]
    if lowered.startswith("http/"):
        return [_http_advice(answer)]
    if "permission" in lowered:
        return ["process 1 has no permission for that socket: check its mode and that of its directory"]
    return []


def _refused_advice(kind: str, service: Service) -> str:
    text = service.probe.text if service.probe else ""
    if kind == "unix" or "unix:" in text:
        return f"no process listens on that socket: check that {service.name} creates it at this path"
    other = "127.0.0.1" if "[::1]" in text or "localhost" in text else "[::1]"
    return (
        f"no process listens there: {service.name} may listen on another port, or only on another address ({other}, "
        "or the container's own): `ss -ltn` in the container shows it"
    )


def _http_advice(answer: str) -> str:
    code = answer.split(" ")[1] if " " in answer else ""
    if code == "404":
        return "the server has nothing at this path: check the path in `healthcheck:`"
    if code in {"401", "403"}:
        return "the server requires a login: probe a path without one, or list the code as one that passes"
    if code == "400":
        return "the server rejects the request: some frameworks check the Host header (ALLOWED_HOSTS)"
    if code.startswith("5"):
        return "the server reports an error of its own: see its log"
    return "the server answers with a code that the probe does not accept"


def _exec_probe_advice(lowered: str, service: Service) -> list[str]:
    if "not found" in lowered or "no such file" in lowered or "cannot run the probe" in lowered:
        return ["the probe's program is not in the image: install it, or use a TCP or HTTP probe, which needs none"]
    manual_run = f"run the probe manually: `cohabit exec {service.name} -- {_probe_command(service)}`"
    if "no answer within" in lowered and service.probe:
        within = format_duration(service.probe.timeout_seconds)
        return [f"its probe command did not end within {within}: it hangs, or `timeout` is too short; {manual_run}"]
    return [manual_run]


def _probe_command(service: Service) -> str:
    """Quote the probe's command for a shell. Its argument boundaries are not known, but a shell's script is one."""
    text = (service.probe.text if service.probe else "").partition(" ")[2]
    shell, flag, script = text.partition(" -c ")
    if flag and shell.rpartition("/")[2] in _SHELLS:
        return f"{shell} -c {quote(script)}"
    return join(text.split()) or "..."


def port_advice(service: Service, others: Iterable[Service]) -> list[str]:
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


def _ports_of(service: Service) -> list[str]:
    """List the numbers in its probe and command that look like ports."""
    probe_text = service.probe.text if service.probe else ""
    return [*_AFTER_COLON.findall(probe_text), *_NUMBER.findall(" ".join(service.command))]


def _readiness_advice(kind: str, service: Service) -> str:
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
