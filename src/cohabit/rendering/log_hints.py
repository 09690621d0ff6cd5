"""Recognise common error messages in a service's last lines of output, and say what they mean in a container.

Most failures show a message of the C library or the kernel, whatever the program. Pure.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from cohabit.plan.file_words import word

if TYPE_CHECKING:
    from collections.abc import Sequence

# (pattern, meaning with the action in parentheses). The first pattern that matches a line wins.
_STALE = "left by an earlier run, as after `docker restart` ({stale file})"
_SOCKET_FILE = r"(/\S+\.sock(et)?\b|unix:/).{0,80}(in use|exists)|(in use|exists).{0,40}/\S+\.sock(et)?\b"
_ADDRESS_IN_USE = r"address (is )?already in use|EADDRINUSE|port is already"
_PID_FILE = (
    r"(pid|lock) ?file .{0,80}exist|already running|another .{1,40} is running|is locked by another|"
    r"server is already active for display|already in use by process|(existing|stale) (pid|lock) ?file"
)
_MEANINGS: tuple[tuple[str, str], ...] = (
    (_SOCKET_FILE, f"the socket is in use by a second instance, or it is {_STALE}"),
    (
        _ADDRESS_IN_USE,
        """another process uses that port (change one of the two ports, or find a process of an earlier run with
        `ss -ltnp`)""",
    ),
    (
        r"(not|never|refus\w+|n't)\b.{0,40} as root|\"root\" execution",
        "the program refuses to run as root (set its `{user}`)",
    ),
    (
        _PID_FILE,
        f"a second instance runs (give each its own directory), or a pid or lock file exists that was {_STALE}",
    ),
    (
        r"exec format error",
        "the program is built for another CPU architecture, or is a script without a #! line",
    ),
    (
        r"read-only file system|EROFS",
        "the path is on a read-only file system (mount a volume or a tmpfs there: `docker run --tmpfs /run`)",
    ),
    (
        r"no space left on device|ENOSPC",
        "a file system is full (`df -h` and `df -i` in the container show which)",
    ),
    (
        r"too many open files|EMFILE|ENFILE",
        "it reached its limit of open files (raise `ulimits: nofile`; `cohabit top` shows if it leaks descriptors)",
    ),
    (
        r"permission denied|EACCES",
        """its user lacks permission (check the owner and mode of the file in the message, and its `{user}`; ports
        below 1024 may require root, or ambient_capabilities: [NET_BIND_SERVICE])""",
    ),
    (
        r"setpgid.{0,40}(operation not permitted|EPERM)",
        "it must not lead a session of its own (set `setsid: false`)",
    ),
    (
        r"operation not permitted|EPERM",
        "it lacks a privilege (root, or a capability that the container does not have: `docker run --cap-add`)",
    ),
    (
        r"no module named|cannot find module|ModuleNotFoundError|ImportError|error while loading shared libraries",
        """a module or library is not in its search path (check the image, `working_dir:`, and PYTHONPATH, NODE_PATH,
        LD_LIBRARY_PATH or the virtual environment's PATH)""",
    ),
    (
        r"command not found|^\S*sh: .*: not found",
        "it calls a program that is not installed or not in PATH",
    ),
    (
        r"no such file or directory|ENOENT|FileNotFoundError",
        "a file is missing (check the path in the message, `working_dir:` and the volumes)",
    ),
    (
        r"connection refused|ECONNREFUSED|could not connect|can't connect",
        """a server that it needs does not accept connections (if the server is a service of this file: give it a
        `healthcheck:`, and use `depends_on` with `condition: service_healthy`)""",
    ),
    (
        r"name or service not known|could not (be )?resolve|ENOTFOUND|failure in name resolution|no such host",
        """a host name cannot be resolved (services in one container reach each other at 127.0.0.1, not by service
        name)""",
    ),
    (
        r"cannot allocate memory|out ?of ?memory|MemoryError|ENOMEM",
        "it could not allocate memory (reduce its workers, heap or caches, or raise the container's limit)",
    ),
    (
        r"password authentication failed|access denied for user|authentication failed",
        "the server rejected its credentials (check its environment and secrets)",
    ),
    (
        r"variable .{1,60}(not set|required|missing|undefined|unset)|KeyError: |missing required",
        "a setting is missing (`cohabit config` shows the environment that the file sets)",
    ),
)
_PORT_IN_USE = re.compile(_ADDRESS_IN_USE, re.IGNORECASE)
_STALE_FILES = tuple(re.compile(pattern, re.IGNORECASE) for pattern in (_SOCKET_FILE, _PID_FILE))
_COMPILED = tuple((re.compile(pattern, re.IGNORECASE), " ".join(meaning.split())) for pattern, meaning in _MEANINGS)

# squid writes "exception location: FILE" after its message.
_FAILURE = re.compile(
    r"^\s*(?!exception location:)(\[?\w*(fatal|panic|error|critical|exception)\w*\b)|\b(fatal|panic|error):",
    re.IGNORECASE,
)
_NOT_EXECUTED = re.compile(r"([^\s:]+): (?:cannot execute: )?(?:permission denied|is a directory)", re.IGNORECASE)
_NOT_FOUND = re.compile(r"([^\s:]+): (?:command )?not found", re.IGNORECASE)
_PORT = re.compile(r"(?:[\]:*.\w]:|\bport[ =:]+)(\d{1,5})\b", re.IGNORECASE)


def hints_from_output(lines: Sequence[str], *, supervisord: bool) -> list[str]:
    """Explain the last line that matches a known pattern, as a list of one sentence; [] if no line matches.

    The search goes backwards and stops at a failure that matches no pattern: it is more recent than the lines before
    it, and the program may have recovered from those. `lines` are safe (text.py). supervisord: the words are those of
    a supervisord.conf.
    """
    for line in reversed(lines):
        for pattern, meaning in _COMPILED:
            match = pattern.search(line)
            if match is not None:
                said = meaning
                for key in ("user", "stale file"):
                    said = said.replace(f"{{{key}}}", word(key, supervisord=supervisord))
                return [f'its output contains "{match.group()}": {said}']
        if _FAILURE.search(line):
            break
    return []


def names_stale_file(lines: Sequence[str]) -> bool:
    """Whether a line says that a pid file, a lock file or a socket exists already."""
    return any(pattern.search(line) for line in lines for pattern in _STALE_FILES)


def unexecutable_file(lines: Sequence[str]) -> str:
    """Name the file that a shell could not execute, from the last line that says so; "" if no line does."""
    found = (_NOT_EXECUTED.search(line) for line in reversed(lines))
    return next((match.group(1) for match in found if match is not None), "")


def missing_program(lines: Sequence[str]) -> str:
    """Name the program that a shell did not find, from the last line that says so; "" if no line does."""
    found = (_NOT_FOUND.search(line) for line in reversed(lines))
    return next((match.group(1) for match in found if match is not None), "")


def ports_in_use(lines: Sequence[str]) -> list[str] | None:
    """List the ports in the last line about a port in use, [] if it names none; None if there is no such line."""
    for line in reversed(lines):
        if _PORT_IN_USE.search(line):
            return _PORT.findall(line)
        if _FAILURE.search(line):
            break
    return None
