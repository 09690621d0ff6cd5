"""tasks/multiline.py: one answer for each line, whatever is in it and however it is split."""

import os
import re
import signal
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cohabit.tasks import multiline

AT_MOST_SECONDS = 30.0

_patterns = st.sampled_from(
    [r"^\d{4}-", r"^\S", r"a$", r"\bERROR\b", "^$", r"\A", r"^\s+\Z", "ä", "�", r"(?m)^b", "x*"]
)
_lines = st.lists(
    st.one_of(st.binary(max_size=8), st.sampled_from([b"", b"2024-", b" at x", b"a\r", b"a\r\r", b"\xc3"]))
)


def _expected(pattern: str, line: bytes) -> bytes:
    """The answer for a line if it is searched alone."""
    text = line.removesuffix(b"\r").decode("utf-8", "replace")
    return b"1" if re.search(pattern, text) else b"0"


@given(_patterns, _lines, st.data())
def test_each_line_is_searched_separately(pattern: str, lines: list[bytes], data: st.DataObject) -> None:
    """Neither neighbouring lines nor incomplete characters nor the pieces change an answer."""
    lines = [line.replace(b"\n", b"") for line in lines]
    text = b"".join(line + b"\n" for line in lines)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=5)))
    pieces = [piece for at, end in zip([0, *cuts], [*cuts, len(text)], strict=True) if (piece := text[at:end])]
    answers: list[bytes] = []
    rest = [*pieces, b""]
    multiline.run(lambda: rest.pop(0), answers.append, re.compile(pattern).search)
    assert b"".join(answers) == b"".join(_expected(pattern, line) for line in lines)


def test_lf_and_crlf_end_lines_and_pieces_are_joined() -> None:
    assert multiline.classify(b"a\r\nb\r\na\r\n", re.compile("a$").search) == b"101"
    answers: list[bytes] = []
    rest = [b"ab", b"c", b"d", b"\nabcd", b"", b""]
    multiline.run(lambda: rest.pop(0), answers.append, re.compile("^abcd$").search)
    assert answers == [b"1"]


def _run(pattern: str, data: bytes, seconds: str = "5") -> subprocess.CompletedProcess[bytes]:
    argv = [sys.executable, "-I", "-S", multiline.__file__, seconds, pattern]
    return subprocess.run(argv, input=data, capture_output=True, timeout=AT_MOST_SECONDS, check=False)


def test_the_program_answers_each_line_and_exits_with_0() -> None:
    """With more lines than a pipe holds."""
    run = _run(r"^\S", b"Traceback\n  line\n\tline\nValueError\n\n" * 100_000)
    assert (run.stdout, run.stderr, run.returncode) == (b"10010" * 100_000, b"", 0)


@pytest.mark.parametrize("before", [b"", b"aa\naa\n"])
def test_catastrophic_backtracking_ends_the_program(before: bytes) -> None:
    """By SIGVTALRM."""
    run = _run(r"(a+)+$", before + b"a" * 60 + b"b\n", "0.1")
    assert (run.returncode, run.stderr) == (-26, b"")


@pytest.mark.parametrize("how", ["ignored", "blocked"])
def test_the_time_limit_holds_with_inherited_signal_settings(how: str) -> None:
    """SIGVTALRM may be ignored or blocked by the parent."""
    disposition = signal.signal(signal.SIGVTALRM, signal.SIG_IGN if how == "ignored" else signal.SIG_DFL)
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGVTALRM} if how == "blocked" else ())
    try:
        argv = [sys.executable, "-I", "-S", multiline.__file__, "0.1", r"(a+)+$"]
        child = subprocess.Popen(argv, stdin=subprocess.PIPE)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        signal.signal(signal.SIGVTALRM, disposition)
    try:
        child.communicate(b"a" * 60 + b"b\n", timeout=AT_MOST_SECONDS)
    finally:
        child.kill()
    assert child.wait() == -26


@pytest.mark.parametrize("blocked", [[], [signal.SIGPIPE]])
def test_without_a_reader_it_ends_silently(blocked: list[signal.Signals]) -> None:
    """When process 1 is gone, there is no traceback on the container's stderr, whatever the signal mask is."""
    argv = [sys.executable, "-I", "-S", multiline.__file__, "5", "x"]
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, blocked)
    try:
        child = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    with child:
        assert child.stdout
        child.stdout.close()
        child.stdout = None
        _, errors = child.communicate(b"line\n", timeout=AT_MOST_SECONDS)
        assert (errors, child.returncode) == (b"", -signal.SIGPIPE)


def test_each_read_has_its_own_time_limit() -> None:
    """A pattern that is slow, but not too slow for one read, runs without limit."""
    argv = [sys.executable, "-I", "-S", multiline.__file__, "0.3", r"(a+)+$"]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdin
        assert child.stdout
        for _ in range(60):  # of 10 ms each
            os.write(child.stdin.fileno(), b"a" * 18 + b"b\n")
            assert os.read(child.stdout.fileno(), 9) == b"0"
        child.stdin.close()
        assert child.wait(AT_MOST_SECONDS) == 0
