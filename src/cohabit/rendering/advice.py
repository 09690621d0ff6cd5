"""What to do about it: for the mistakes that everybody makes once, the sentence that somebody who has made them says.

Three sources, the most telling first: what a service wrote, the code with which it ended, what its probe was answered.
Each sentence is concrete and stands for itself. Nothing is advised where nothing is known. Pure.
"""

from __future__ import annotations

import re
from shlex import join, quote
from typing import TYPE_CHECKING

from cohabit.errors import EXIT_CANNOT_RUN, EXIT_KILLED, EXIT_NOT_FOUND
from cohabit.rendering.telltales import about_output, missing_program, ports_in_use, refused_file
from cohabit.units import describe_exit, format_duration

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cohabit.rendering.status import Container, Service

_SHELLS = frozenset({"sh", "bash", "dash", "ash", "zsh", "ksh"})
_NO_DIRECTORY = "cannot start: cannot change to its working directory"  # reactor/processes/spawn.py's words
_NO_USER = "cannot start: cannot become user"
_NO_INTERPRETER = ("the interpreter that its first line names", "its first line names no interpreter")
_SIGNALS = 128
_AFTER_COLON = re.compile(r":(\d{1,5})\b")
_NUMBER = re.compile(r"(?<![\d.])\d{2,5}(?![\d.])")

# Programs that put themselves in the background unless told otherwise, and how each is told.
_FOREGROUND = {
    "nginx": "nginx -g 'daemon off;'",
    "apache2": "apache2 -D FOREGROUND",
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
    "proftpd": "proftpd -n",
    "supervisord": "supervisord -n",
    "pm2": "pm2-runtime",
    "pg_ctl": "postgres itself, not pg_ctl",
    "pg_ctlcluster": "pg_ctlcluster --foreground",
    "service": "the program itself, not `service`",
    "systemctl": "the program itself, not `systemctl`",
    "memcached": "memcached without -d",
    "haproxy": "haproxy without -D",
    "gunicorn": "gunicorn without --daemon",
    "uwsgi": "uwsgi without --daemonize",
    "celery": "celery without --detach",
}

_BY_CODE: dict[int, str] = {
    128 + 1: "SIGHUP came from outside: from a terminal that was closed, or a `kill` in a script",
    128 + 2: "SIGINT came from outside, as ^C in a terminal sends it",
    128 + 4: "the program needs a processor with more instructions than this one has: take an older or generic build",
    128 + 6: "it gave up by itself (abort): an assertion, or memory it found corrupted; its last lines say which",
    128 + 7: "often shared memory that is full: /dev/shm has 64 MiB unless `docker run --shm-size` says more",
    128 + 8: "a division by zero or the like in the program itself: a bug of it",
    128 + 11: "a crash in native code: libraries of another version or another libc (Alpine has musl), or a bug; "
    "`ulimits: {core: -1}` gets a core file",
    128 + 13: "whoever read its output or its socket went away",
    128 + 15: "SIGTERM came from outside: nobody here had asked it to stop",
    128 + 24: "it used up its CPU time: `ulimits: cpu`",
    128 + 25: "a file grew too large: `ulimits: fsize`",
    128 + 31: "it made a system call that seccomp forbids: `docker run --security-opt seccomp=...`",
}


def about_end(service: Service, container: Container) -> list[str]:
    """What to do about the end of the last run."""
    if service.out_of_memory:
        return [_about_memory(container)]
    if service.why.startswith("unhealthy"):
        return about_probe(service)
    if service.why.startswith(_NO_DIRECTORY):
        return [_about_directory(service)]
    if service.code in (EXIT_CANNOT_RUN, EXIT_NOT_FOUND):
        return _about_code(service, service.code)
    found = about_output(service.output or ())
    if service.code == 0:
        return [*found, _about_background(service)]
    return found if service.code is None else found + _about_code(service, service.code)


def about_probe(service: Service) -> list[str]:
    """What to do about a probe that does not pass."""
    probe = service.probe
    if probe is None:
        return []
    answer = next((result.output for result in reversed(service.results) if not result.passed), "")
    found = about_output(service.output or ()) + _about_kind(probe.kind, answer, service)
    if service.health == "starting" and probe.failures:
        now = format_duration(probe.start_period_seconds)
        found.append(f"if it only needs longer to start: a longer `healthcheck: start_period` (now {now})")
    return found


def about_stop(service: Service) -> list[str]:
    """What to do about a service that does not go when it is told to."""
    signal = service.stop_signal or "the stop signal"
    longer = "if it needs longer to finish its work: a longer `stop_grace_period`"
    found = [f"{longer}; if it does not hear {signal}: the `stop_signal` that it does hear"]
    if program(service) in _SHELLS:
        found.insert(0, f"its command is a shell, which keeps {signal} for itself: end the script with `exec PROGRAM`")
    return found


def program(service: Service) -> str:
    """The name of what it runs, without its directory."""
    return service.command[0].rpartition("/")[2] if service.command else ""


def _about_memory(container: Container) -> str:
    where = "the container" if container.memory_limit else "the machine, or a limit above the container,"
    return (
        f"{where} ran out of memory: let it use less (workers, heap, caches), or give more (`docker run --memory`); "
        "`cohabit top` shows who uses how much"
    )


def _about_directory(service: Service) -> str:
    what = service.why.removeprefix(_NO_DIRECTORY).strip()
    path, _, why = what.rpartition(": ")
    if "permission" in why:
        return f"its user may not enter {path}: look at that directory's owner and mode, and at its `user:`"
    return f"make the directory {path or what} in the image or mount it there, or mend its `working_dir:`"


def _about_code(service: Service, code: int) -> list[str]:
    if code in (EXIT_NOT_FOUND, EXIT_CANNOT_RUN) and any(words in service.why for words in _NO_INTERPRETER):
        return [_about_interpreter(service)]
    if code == EXIT_NOT_FOUND:
        return [_about_missing(service)]
    if code == EXIT_CANNOT_RUN:
        return [_about_refused(service)]
    if code == EXIT_KILLED and "ignored" in service.why:
        return about_stop(service)
    words = describe_exit(code)
    if code > _SIGNALS and program(service) in _SHELLS and words.startswith("SIG"):
        signal = words.partition(" ")[0]
        told = f"exit code {code}: a child of its shell, or the shell, was killed by {signal}, or it said so itself"
        more = _BY_CODE.get(code, "")
        return [told, *([more] if more and "from outside" not in more else [])]
    if code == EXIT_KILLED:
        return [
            "SIGKILL came from outside: a `kill -9`, or the kernel of the machine for want of memory (its log says)"
        ]
    return [_BY_CODE[code]] if code in _BY_CODE else []


def _about_interpreter(service: Service) -> str:
    name = service.command[0] if service.command else "its command"
    return (
        f"look at the first line of {name}: it has to begin with #! and name an interpreter that the image has; lines "
        "that end as in Windows (CRLF) spoil that name, too: save the file with LF"
    )


def _about_refused(service: Service) -> str:
    if service.why.startswith(_NO_USER):
        return "start the container as root (cohabit changes to its `user:` then), or leave that `user:` out"
    name = service.command[0] if service.command else "its command"
    if program(service) in _SHELLS and not service.why.startswith("cannot start"):
        name = refused_file(service.output or ()) or "a program that its shell calls"
    return f"{name} is there but cannot be run: `chmod +x`, its #! line, a directory, or another processor's"


def _about_missing(service: Service) -> str:
    if program(service) in _SHELLS and not service.why.startswith("cannot start"):
        name = missing_program(service.output or ())
        return f"the shell did not find {name or 'a program'}: install it in the image, or write its whole path"
    if not service.command:
        return "its command was not found: install it in the image, or write its whole path"
    name = service.command[0]
    if " " in name:
        return f"the command is taken as one word, {name!r}: write it as a list with one item per word"
    if "/" in name:
        return f"{name} is not in the image, or the interpreter in its #! line, or its loader (glibc in Alpine), is not"
    return f"{name} is not installed in the image, or not in PATH: install it, or write its whole path"


def _about_background(service: Service) -> str:
    name = program(service)
    stem = name.rstrip("0123456789.")
    known = _FOREGROUND.get(name) or _FOREGROUND.get(stem)
    start = "it probably put itself in the background"
    if known:
        return f"{start}: run {known}"
    if name in _SHELLS:
        return (
            "its script came to its end: let it end with `exec PROGRAM`, in the foreground, or say `essential: false` "
            "and wait for it as for a job (service_completed_successfully)"
        )
    return (
        f"{start} (run it in the foreground, or give its `pid_file:`), or it had nothing to do (then it is a job: "
        "`restart: on-failure`, `essential: false`)"
    )


def _about_kind(kind: str, answer: str, service: Service) -> list[str]:
    if kind in {"notify", "fd", "log"}:
        return [_about_telling(kind, service)]
    low = answer.lower()
    if kind == "exec":
        return _about_exec(low, service)
    if "no answer within" in low:
        return ["something listens but does not answer in time: it hangs or is overloaded, or `timeout` is too short"]
    if "refused" in low or "no such file" in low:
        return [_about_nobody(kind, service)]
    if "not an http answer" in low:
        return ["what listens there does not speak HTTP: another service's port, or TLS (then use CMD with curl -k)"]
    if low.startswith("http/"):
        return [_about_http(answer)]
    if "permission" in low:
        return ["process 1 may not use that socket: look at its mode and its directory's"]
    return []


def _about_nobody(kind: str, service: Service) -> str:
    text = service.probe.text if service.probe else ""
    if kind == "unix" or "unix:" in text:
        return f"nobody listens on that socket: does {service.name} make it at this path, or not yet?"
    other = "127.0.0.1" if "[::1]" in text or "localhost" in text else "[::1]"
    return (
        f"nobody listens there: does {service.name} listen on another port, or only on another address ({other}, "
        "the container's own)? `ss -ltn` in the container shows it"
    )


def _about_http(answer: str) -> str:
    code = answer.split(" ")[1] if " " in answer else ""
    if code == "404":
        return "it answers, but has nothing at this path: is the path of the `healthcheck:` right?"
    if code in {"401", "403"}:
        return "it answers, but asks who we are: probe a path that needs no login, or list the code as one that passes"
    if code == "400":
        return "it does not like the request: frameworks check the Host header (ALLOWED_HOSTS)"
    if code.startswith("5"):
        return "it listens but is not well itself: its own log says why"
    return "it answers with another code than the probe wants"


def _about_exec(low: str, service: Service) -> list[str]:
    if "not found" in low or "no such file" in low or "cannot run the probe" in low:
        return ["the probe's program is not in the image: install it, or use TCP or HTTP, which need none"]
    by_hand = f"run the probe by hand: `cohabit exec {service.name} -- {_probe_command(service)}`"
    if "no answer within" in low and service.probe:
        within = format_duration(service.probe.timeout_seconds)
        return [f"its probe command did not end within {within}: it hangs, or `timeout` is too short; {by_hand}"]
    return [by_hand]


def _probe_command(service: Service) -> str:
    """As it is to be typed. Where one word ends and another begins is not told; but a shell's script is one."""
    words = (service.probe.text if service.probe else "").partition(" ")[2]
    shell, flag, script = words.partition(" -c ")
    if flag and shell.rpartition("/")[2] in _SHELLS:
        return f"{shell} -c {quote(script)}"
    return join(words.split()) or "..."


def about_port(service: Service, others: Iterable[Service]) -> list[str]:
    """Who of the same file has the port that it wanted, if that can be seen."""
    ports = ports_in_use(service.output or ())
    if ports is None:
        return []
    for port in dict.fromkeys([*ports, *_ports_of(service)]):
        for other in others:
            if other.name != service.name and not other.at_rest and port in _ports_of(other):
                return [f"port {port} is that of {other.name}, a service here: give one of the two another port"]
    return []


def _ports_of(service: Service) -> list[str]:
    """The numbers in its probe and its command that look like ports."""
    asked = service.probe.text if service.probe else ""
    return [*_AFTER_COLON.findall(asked), *_NUMBER.findall(" ".join(service.command))]


def _about_telling(kind: str, service: Service) -> str:
    if kind == "notify":
        return (
            "it must send READY=1 to the socket in NOTIFY_SOCKET (sd_notify): if the program cannot, or a wrapper "
            "drops that variable, use TCP or HTTP"
        )
    if kind == "fd":
        return "it must write a newline to that descriptor: if the program cannot, use TCP or HTTP"
    return f"no line of its output has matched: compare the pattern with `cohabit logs {service.name}`"
