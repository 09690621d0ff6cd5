"""What a service's own last lines give away: the messages that every program has in common.

Most failures are told by a line that the C library or the kernel worded, whatever the program. This is a list of
such words and of what they mean inside a container. Pure.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

# (what to look for, what it means); where several fit one line, the first wins.
_MEANINGS: tuple[tuple[str, str], ...] = (
    (
        r"address (is )?already in use|EADDRINUSE|port is already",
        """another process has that port: give one of the two another one, or look for what an earlier run left behind
        (`ss -ltnp` shows who listens)""",
    ),
    (
        r"(not|never|refus\w+|n't)\b.{0,40} as root|\"root\" execution",
        "it will not run as root: give it a `user:`",
    ),
    (
        r"(pid|lock) ?file .{0,80}exist|already running|another .{1,40} is running|is locked by another",
        """a pid or lock file of an earlier run is in its way, or a second one runs: remove the file in a pre_start
        hook, or give each its own directory""",
    ),
    (
        r"exec format error",
        "the program is for another kind of processor, or a script without its #! line",
    ),
    (
        r"read-only file system|EROFS",
        "it writes where nothing can be written: give it a volume or a tmpfs there (`docker run --tmpfs /run`)",
    ),
    (
        r"no space left on device|ENOSPC",
        "the disk is full: `df -h` and `df -i` in the container show which",
    ),
    (
        r"too many open files|EMFILE|ENFILE",
        "raise its `ulimits: nofile`, or look for descriptors that it leaks (`cohabit top` counts them)",
    ),
    (
        r"permission denied|EACCES",
        """its user may not do that: look at the owner and mode of the file that it names, and at its `user:` (ports
        below 1024 may need root, too)""",
    ),
    (
        r"operation not permitted|EPERM",
        "it lacks a right: a capability that the container does not have (`docker run --cap-add`), or root",
    ),
    (
        r"no module named|cannot find module|ModuleNotFoundError|ImportError|error while loading shared libraries",
        """a part of it is not installed where it looks: look at the image, its `working_dir:` and its environment
        (PYTHONPATH, NODE_PATH, LD_LIBRARY_PATH, the virtual environment's PATH)""",
    ),
    (
        r"command not found|^\S*sh: .*: not found",
        "a program that it calls is not installed, or not in PATH",
    ),
    (
        r"no such file or directory|ENOENT|FileNotFoundError",
        "a file that it needs is not there: look at the path it names, its `working_dir:` and the volumes",
    ),
    (
        r"connection refused|ECONNREFUSED|could not connect|can't connect",
        """somebody it needs did not answer: if that is a service here, `depends_on` it with `condition:
        service_healthy` and give that one a `healthcheck:`""",
    ),
    (
        r"name or service not known|could not (be )?resolve|ENOTFOUND|failure in name resolution|no such host",
        "a name is not known: services in one container reach each other at 127.0.0.1, not by their names",
    ),
    (
        r"cannot allocate memory|out ?of ?memory|MemoryError|ENOMEM",
        "it got no memory: let it use less (workers, heap, caches), or give the container more",
    ),
    (
        r"password authentication failed|access denied for user|authentication failed",
        "the other side did not take its password: look at its environment and its secrets",
    ),
    (
        r"variable .{1,60}(not set|required|missing|undefined|unset)|KeyError: |missing required",
        "a setting is missing: `cohabit config` shows the environment that the file gives it",
    ),
)
_COMPILED = tuple((re.compile(words, re.IGNORECASE), " ".join(meaning.split())) for words, meaning in _MEANINGS)

_FAILURE = re.compile(r"^\s*(\[?\w*(fatal|panic|error|critical|exception)\w*\b)|\b(fatal|panic|error):", re.IGNORECASE)
_NOT_EXECUTED = re.compile(r"([^\s:]+): (?:cannot execute: )?(?:permission denied|is a directory)", re.IGNORECASE)
_NOT_FOUND = re.compile(r"([^\s:]+): (?:command )?not found", re.IGNORECASE)
_PORT = re.compile(r"(?:[\]:*.\w]:|\bport[ =:]+)(\d{1,5})\b", re.IGNORECASE)


def about_output(lines: Sequence[str]) -> list[str]:
    """What the last line that says something known means, as one sentence; [] if none does. Lines are safe.

    Not beyond a line that tells of a failure in words that are not known: it is later, and what came before it may
    have been got over.
    """
    for line in reversed(lines):
        for words, meaning in _COMPILED:
            said = words.search(line)
            if said is not None:
                return [f'its output says "{said.group()}": {meaning}']
        if _FAILURE.search(line):
            break
    return []


def refused_file(lines: Sequence[str]) -> str:
    """Which file a shell could not execute, as the last line that tells of one has it; "" if none does."""
    found = (_NOT_EXECUTED.search(line) for line in reversed(lines))
    return next((said.group(1) for said in found if said is not None), "")


def missing_program(lines: Sequence[str]) -> str:
    """Which program a shell did not find; "" if no line tells of one."""
    found = (_NOT_FOUND.search(line) for line in reversed(lines))
    return next((said.group(1) for said in found if said is not None), "")


def ports_in_use(lines: Sequence[str]) -> list[str] | None:
    """The ports that the last line about a port in use names, [] if it names none; None without such a line."""
    for line in reversed(lines):
        if _COMPILED[0][0].search(line):
            return _PORT.findall(line)
        if _FAILURE.search(line):
            break
    return None
