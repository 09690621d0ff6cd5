"""Durations, signals, replicas: from text and to text. Printable text; the PATH of images. Pure: no I/O, no clock.

Durations have Compose's form ("1m30s", "100ms"; compose-spec 11-extension.md, Go's ParseDuration) and are float seconds
inside cohabit. Signals are numbers inside cohabit. Their names come from `_signal`: the public `signal` module imports
enum and re, which takes 4 to 7 ms of the start of process 1.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # part of CPython, but not in typeshed

# The PATH of Docker's images, for a process whose environment has none.
DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

_UNIT_SECONDS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}

# Names without SIG. The real-time range is written relative to its ends, as kill(1) and systemd do.
_NUMBER_OF: dict[str, int] = {
    name[3:]: int(number)
    for name, number in vars(_signal).items()
    if name.startswith("SIG") and not name.startswith(("SIG_", "SIGRT")) and isinstance(number, int)
}
_NAME_OF = {number: name for name, number in sorted(_NUMBER_OF.items(), reverse=True)}
_NAME_OF.update({_NUMBER_OF[name]: name for name in ("CHLD", "IO", "ABRT") if name in _NUMBER_OF})
_RTMIN, _RTMAX = int(_signal.SIGRTMIN), int(_signal.SIGRTMAX)

_SIGNAL_LENGTH_MAX = 40  # int() has a limit of its own, with an error message of Python

_REPLICA_DIGITS_MAX = 6

_DESCRIPTION_OF = {
    "HUP": "hangup",
    "INT": "interrupt",
    "QUIT": "quit",
    "ILL": "illegal instruction",
    "TRAP": "trap",
    "ABRT": "aborted",
    "BUS": "bus error",
    "FPE": "floating-point exception",
    "KILL": "killed",
    "SEGV": "segmentation fault",
    "PIPE": "broken pipe",
    "ALRM": "alarm clock",
    "TERM": "terminated",
    "XCPU": "CPU time limit exceeded",
    "XFSZ": "file size limit exceeded",
    "SYS": "bad system call",
}


def parse_duration(text: str) -> float:
    """Seconds of a Compose duration such as "10s", "1m30s" or "1.5h". Raises ValueError."""
    rest, seconds = text.strip(), 0.0
    if rest == "0":
        return 0.0
    if not rest:
        raise ValueError("the duration is empty (write 500ms, 10s, 1m30s)")
    while rest:
        digits = len(rest) - len(rest.lstrip("0123456789."))
        letters = len(rest[digits:]) - len(rest[digits:].lstrip("abcdefghijklmnopqrstuvwxyz"))
        number, unit = rest[:digits], rest[digits : digits + letters]
        if unit not in _UNIT_SECONDS or not number.strip(".") or number.count(".") > 1:
            raise ValueError(f"{text[:40]!r} is not a duration (write 500ms, 10s, 1m30s)")
        seconds += float(number) * _UNIT_SECONDS[unit]
        rest = rest[digits + letters :]
    return seconds


def format_duration(seconds: float) -> str:
    """Seconds as a short text: 0.2 -> "200ms", 4.1 -> "4.1s", 90 -> "1m30s"."""
    if round(seconds, 3) < 1:
        return f"{round(seconds * 1000)}ms"
    if round(seconds, 1) < _UNIT_SECONDS["m"]:
        return f"{seconds:.1f}".removesuffix(".0") + "s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    parts = ((hours, "h"), (minutes, "m"), (rest, "s"))
    return "".join(f"{amount}{unit}" for amount, unit in parts if amount)


def parse_signal(text: str) -> int:
    """The number of a signal written as TERM, SIGTERM, sigterm, 15 or SIGRTMIN+3. Raises ValueError.

    The signals that the C library reserves are refused (glibc: 32 and 33, for thread cancellation and setuid): a
    program that receives one crashes or ignores it.
    """
    name = "" if len(text) > _SIGNAL_LENGTH_MAX else text.strip().upper().removeprefix("SIG")
    if name.isdecimal() and 0 < int(name) <= _RTMAX:
        if int(name) not in _NAME_OF and int(name) < _RTMIN:
            raise ValueError(f"{text!r} is a signal that the C library reserves (write SIGTERM, TERM or 15)")
        return int(name)
    if name in _NUMBER_OF:
        return _NUMBER_OF[name]
    for base, first in (("RTMIN", _RTMIN), ("RTMAX", _RTMAX)):
        offset = name.removeprefix(base)
        if offset != name and (not offset or (offset[0] in "+-" and offset[1:].isdecimal())):
            number = first + int(offset or 0)
            if _RTMIN <= number <= _RTMAX:
                return number
    raise ValueError(f"{text[:40]!r} is not a signal (write SIGTERM, TERM or a number up to {_RTMAX})")


def signal_name(number: int) -> str:
    """The name of a signal as in kill(1): 15 -> "SIGTERM", 37 -> "SIGRTMIN+3"."""
    if number in _NAME_OF:
        return f"SIG{_NAME_OF[number]}"
    if _RTMIN <= number <= _RTMAX:
        return "SIGRTMIN" + (f"+{number - _RTMIN}" if number > _RTMIN else "")
    return f"signal {number}"


def exit_signal(code: int) -> int | None:
    """The signal that an exit code of 128+n stands for, None if there is no such signal: 137 -> 9."""
    number = code - 128
    return number if number in _NAME_OF or _RTMIN <= number <= _RTMAX else None


def describe_exit(code: int) -> str:
    """An exit code as text; 128+n stands for signal n: "exit code 3", "SIGKILL (killed)".

    A shell reports the signal that killed its child in the same way.
    """
    number = exit_signal(code)
    if number is not None:
        description = _DESCRIPTION_OF.get(_NAME_OF.get(number, ""), "")
        return signal_name(number) + (f" ({description})" if description else "")
    return f"exit code {code}"


def printable(text: str, kept: str = "") -> str:
    r"""Escape what a terminal interprets, a newline as "\n": controls (C0, C1) and marks of the writing direction.

    kept: characters that are not printable for str.isprintable, and stay.
    """
    if text.isprintable():  # checked as a whole: one character at a time takes a tenth of a second per MiB
        return text
    return "".join(one if one.isprintable() or one in kept else ascii(one)[1:-1] for one in text)


def parse_replicas(text: str) -> int:
    """Return a number of replicas. Raises ValueError with the reason."""
    if not text.isdecimal() or len(text) > _REPLICA_DIGITS_MAX:
        raise ValueError(f"{text!r} is not a number of replicas")
    return int(text)
