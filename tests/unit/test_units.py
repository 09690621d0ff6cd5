"""units.py: durations, signals and exit codes."""

import re
import signal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cohabit.units import (
    describe_exit,
    format_duration,
    parse_duration,
    parse_replicas,
    parse_signal,
    printable,
    signal_name,
)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0),
        ("10s", 10),
        ("1m30s", 90),
        ("100ms", 0.1),
        ("1.5h", 5400),
        ("250us", 0.00025),
        ("1h1m1s1ms", 3661.001),
        (" 3s ", 3),
        (".5s", 0.5),
        ("1d", 86400),
        ("0s", 0),
    ],
)
def test_duration_has_composes_form(text: str, seconds: float) -> None:
    """A sequence of numbers with units."""
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "text", ["", " ", "10", "s", "-1s", "1 s", "1x", "1.2.3s", ".s", "1s2", "1e3s", "tens", "1S", "1s,2s"]
)
def test_invalid_duration_is_an_error(text: str) -> None:
    """ValueError, with "duration" in the message."""
    with pytest.raises(ValueError, match="duration"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0ms"),
        (0.0004, "0ms"),
        (0.1, "100ms"),
        (0.9996, "1s"),
        (1, "1s"),
        (4.13, "4.1s"),
        (59.9, "59.9s"),
        (59.96, "1m"),
        (60, "1m"),
        (90, "1m30s"),
        (3600, "1h"),
        (3661, "1h1m1s"),
        (7325.4, "2h2m5s"),
    ],
)
def test_duration_as_short_text(seconds: float, text: str) -> None:
    """The shortest form, with rounding."""
    assert format_duration(seconds) == text


@given(st.floats(0, 1e6))
def test_formatted_duration_can_be_parsed(seconds: float) -> None:
    """parse_duration reads what format_duration writes, except for rounding."""
    parsed = parse_duration(format_duration(seconds))
    assert parsed == pytest.approx(seconds, rel=0.05, abs=0.5 if seconds >= 60 else 0.0006)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("TERM", 15),
        ("SIGTERM", 15),
        ("sigterm", 15),
        ("15", 15),
        (" Term ", 15),
        ("RTMIN", 34),
        ("SIGRTMIN+3", 37),
        ("RTMAX", 64),
        ("RTMAX-1", 63),
        ("rtmin+0", 34),
        ("64", 64),
        ("CLD", 17),
        ("IOT", 6),
        ("POLL", 29),
    ],
)
def test_signal_in_every_form(text: str, number: int) -> None:
    """With and without SIG, in any case, as a number, relative to the real-time range."""
    assert parse_signal(text) == number


@pytest.mark.parametrize(
    "text", ["", "0", "65", "-1", "NONSENSE", "SIG", "SIGSIGTERM", "RTMIN-1", "RTMIN+31", "RTMAX+1", "RTMIN+", "1.5"]
)
def test_invalid_signal_is_an_error(text: str) -> None:
    """ValueError, with "signal" in the message."""
    with pytest.raises(ValueError, match="signal"):
        parse_signal(text)


@pytest.mark.parametrize("text", ["9" * 5000, "RTMIN+" + "9" * 5000, "0" * 5000 + "15", "x" * 5000])
def test_a_long_text_is_not_a_signal(text: str) -> None:
    """The message has only the first 40 characters, and does not come from int()."""
    with pytest.raises(ValueError, match=f"^'{re.escape(text[:40])}' is not a signal"):
        parse_signal(text)


@pytest.mark.parametrize("text", ["32", "33", "SIG32", " 33 "])
def test_reserved_signal_is_refused(text: str) -> None:
    """The C library (glibc) uses 32 and 33 between its own threads."""
    with pytest.raises(ValueError, match="the C library reserves"):
        parse_signal(text)


@given(st.sampled_from(sorted(int(number) for number in signal.valid_signals())))
def test_signal_name_can_be_parsed(number: int) -> None:
    """parse_signal accepts what signal_name returns."""
    assert parse_signal(signal_name(number)) == number


def test_names_are_the_usual_ones() -> None:
    """A number with two names has the usual one."""
    assert [signal_name(number) for number in (6, 17, 29, 34, 37, 33)] == [
        "SIGABRT",
        "SIGCHLD",
        "SIGIO",
        "SIGRTMIN",
        "SIGRTMIN+3",
        "signal 33",
    ]


@pytest.mark.parametrize(
    ("code", "text"),
    [
        (0, "exit code 0"),
        (3, "exit code 3"),
        (127, "exit code 127"),
        (128, "exit code 128"),
        (137, "SIGKILL (killed)"),
        (143, "SIGTERM (terminated)"),
        (139, "SIGSEGV (segmentation fault)"),
        (160, "exit code 160"),
        (162, "SIGRTMIN"),
        (255, "exit code 255"),
    ],
)
def test_exit_code_as_text(code: int, text: str) -> None:
    """128+n is signal n, if there is such a signal."""
    assert describe_exit(code) == text


def test_numbers_of_replicas() -> None:
    """Up to six digits; the command line and the control socket use the same check."""
    assert [parse_replicas(text) for text in ("0", "12", "999999")] == [0, 12, 999_999]
    for text in ("", "-1", "1000000", "1.5", "x"):
        with pytest.raises(ValueError, match="is not a number of replicas"):
            parse_replicas(text)


def test_printable_text() -> None:
    """What moves the cursor or changes the direction of writing is escaped; letters of any language stay."""
    assert printable("ä € 日本") == "ä € 日本"
    assert printable("a\nb\x1b[31m\u202e\t", kept="\t") == "a\\nb\\x1b[31m\\u202e\t"
