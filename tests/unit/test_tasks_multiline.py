"""tasks/multiline.py: one answer for each line, whatever the lines are and however they come."""

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


def _by_itself(pattern: str, line: bytes) -> bytes:
    """What the answer for a line is, if nothing but that line is looked at."""
    text = line.removesuffix(b"\r").decode("utf-8", "replace")
    return b"1" if re.search(pattern, text) else b"0"


@given(_patterns, _lines, st.data())
def test_each_line_is_searched_by_itself(pattern: str, lines: list[bytes], data: st.DataObject) -> None:
    """Neighbours change nothing, not even by half a character at their end; nor do pieces."""
    lines = [line.replace(b"\n", b"") for line in lines]
    text = b"".join(line + b"\n" for line in lines)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=5)))
    pieces = [piece for at, end in zip([0, *cuts], [*cuts, len(text)], strict=True) if (piece := text[at:end])]
    answers: list[bytes] = []
    left = [*pieces, b""]
    multiline.answer(lambda: left.pop(0), answers.append, re.compile(pattern).search)
    assert b"".join(answers) == b"".join(_by_itself(pattern, line) for line in lines)


def test_line_ends_of_either_kind_and_lines_in_many_pieces() -> None:
    """CRLF is a line's end in the middle as at the end; a line is whole however many reads it took."""
    assert multiline.judge(b"a\r\nb\r\na\r\n", re.compile("a$").search) == b"101"
    answers: list[bytes] = []
    left = [b"ab", b"c", b"d", b"\nabcd", b"", b""]
    multiline.answer(lambda: left.pop(0), answers.append, re.compile("^abcd$").search)
    assert answers == [b"1"]


def _run(pattern: str, data: bytes, seconds: str = "5") -> subprocess.CompletedProcess[bytes]:
    argv = [sys.executable, "-I", "-S", multiline.__file__, seconds, pattern]
    return subprocess.run(argv, input=data, capture_output=True, timeout=AT_MOST_SECONDS, check=False)


def test_the_program() -> None:
    """Lines in, as many answers out, more than any pipe holds; the end of the input is its end."""
    run = _run(r"^\S", b"Traceback\n  line\n\tline\nValueError\n\n" * 100_000)
    assert (run.stdout, run.stderr, run.returncode) == (b"10010" * 100_000, b"", 0)


@pytest.mark.parametrize("before", [b"", b"aa\naa\n"])
def test_a_line_that_takes_for_ever_ends_it(before: bytes) -> None:
    """Catastrophic backtracking ends it by SIGVTALRM."""
    run = _run(r"(a+)+$", before + b"a" * 60 + b"b\n", "0.1")
    assert (run.returncode, run.stderr) == (-26, b"")


@pytest.mark.parametrize("how", ["ignored", "blocked"])
def test_the_limit_holds_whatever_was_inherited(how: str) -> None:
    """A signal that is ignored or blocked where we come from is not so here."""
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


def test_without_a_listener_it_ends_in_silence() -> None:
    """Process 1 is gone: no traceback on the container's stderr."""
    argv = [sys.executable, "-I", "-S", multiline.__file__, "5", "x"]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
        assert child.stdout
        child.stdout.close()
        child.stdout = None
        _, errors = child.communicate(b"line\n", timeout=AT_MOST_SECONDS)
        assert (errors, child.returncode) == (b"", -signal.SIGPIPE)


def test_each_read_has_its_own_time() -> None:
    """A pattern that is slow, but not too slow for any line, goes on for ever."""
    argv = [sys.executable, "-I", "-S", multiline.__file__, "0.3", r"(a+)+$"]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdin
        assert child.stdout
        for _ in range(60):  # of 10 ms each
            os.write(child.stdin.fileno(), b"a" * 18 + b"b\n")
            assert os.read(child.stdout.fileno(), 9) == b"0"
        child.stdin.close()
        assert child.wait(AT_MOST_SECONDS) == 0
