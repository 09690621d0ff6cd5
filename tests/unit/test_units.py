"""Durations and signals as people write them, and back."""

import re
import signal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cohabit.units import describe_exit, format_duration, parse_duration, parse_signal, signal_name


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
def test_duration_is_compose_s(text: str, seconds: float) -> None:
    """A duration is what Compose takes: numbers with units, one after the other."""
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "text", ["", " ", "10", "s", "-1s", "1 s", "1x", "1.2.3s", ".s", "1s2", "1e3s", "tens", "1S", "1s,2s"]
)
def test_no_duration_is_an_error(text: str) -> None:
    """Whatever else is no duration."""
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
def test_duration_in_short_words(seconds: float, text: str) -> None:
    """A duration is told in its shortest form."""
    assert format_duration(seconds) == text


@given(st.floats(0, 1e6))
def test_what_is_told_can_be_read(seconds: float) -> None:
    """What format_duration writes parse_duration reads, to within what was rounded away."""
    told = parse_duration(format_duration(seconds))
    assert told == pytest.approx(seconds, rel=0.05, abs=0.5 if seconds >= 60 else 0.0006)


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
def test_signal_by_any_name(text: str, number: int) -> None:
    """With and without SIG, in any case, as a number, relative to the real-time range."""
    assert parse_signal(text) == number


@pytest.mark.parametrize(
    "text", ["", "0", "65", "-1", "NONSENSE", "SIG", "SIGSIGTERM", "RTMIN-1", "RTMIN+31", "RTMAX+1", "RTMIN+", "1.5"]
)
def test_no_signal_is_an_error(text: str) -> None:
    """Whatever else is no signal."""
    with pytest.raises(ValueError, match="signal"):
        parse_signal(text)


@pytest.mark.parametrize("text", ["9" * 5000, "RTMIN+" + "9" * 5000, "0" * 5000 + "15", "x" * 5000])
def test_a_long_text_is_not_a_signal(text: str) -> None:
    """int() would report its own limit; and the message has only the beginning of the text."""
    with pytest.raises(ValueError, match=f"^'{re.escape(text[:40])}' is no signal"):
        parse_signal(text)


@pytest.mark.parametrize("text", ["32", "33", "SIG32", " 33 "])
def test_what_the_c_library_keeps_is_refused(text: str) -> None:
    """Nobody may send 32 and 33: glibc uses them between its own threads."""
    with pytest.raises(ValueError, match="the C library keeps for itself"):
        parse_signal(text)


@given(st.sampled_from(sorted(int(number) for number in signal.valid_signals())))
def test_each_signal_s_name_can_be_read(number: int) -> None:
    """The name that we tell is one that we take."""
    assert parse_signal(signal_name(number)) == number


def test_names_are_the_usual_ones() -> None:
    """Where a number has two names, the usual one is told."""
    assert [signal_name(number) for number in (6, 17, 29, 34, 37, 33)] == [
        "SIGABRT",
        "SIGCHLD",
        "SIGIO",
        "SIGRTMIN",
        "SIGRTMIN+3",
        "signal 33",
    ]


@pytest.mark.parametrize(
    ("code", "words"),
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
def test_end_in_words(code: int, words: str) -> None:
    """128+n is told as signal n, where there is one."""
    assert describe_exit(code) == words
