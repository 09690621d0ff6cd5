"""The last word: one line with the reason, the culprit's last lines, and a place where Kubernetes looks."""

import os
from pathlib import Path

import pytest

from cohabit.reactor.logs import exit_reason
from cohabit.reactor.logs.exit_reason import last_word, write_termination_log


def test_one_line_without_a_culprit() -> None:
    """A requested stop is one line."""
    assert last_word("stopped by SIGTERM", 0, "", [b"noise"]) == "stopped by SIGTERM: exit code 0"


def test_the_culprit_s_last_lines_go_with_it() -> None:
    """At most ten lines of the culprit, whatever bytes they are."""
    text = last_word("web ended", 3, "web", [b"line %d" % n for n in range(15)] + [b"\xff\0"])
    lines = text.splitlines()
    assert lines[:3] == ["web ended: exit code 3", "last output of web:", "  line 6"]
    assert len(lines) == 12
    assert lines[-1] == "  \ufffd\0"


def test_its_very_end_is_what_counts() -> None:
    """What does not fit into the termination log are the earlier lines, or the beginning of a long one."""
    text = last_word("web ended", 3, "web", [b"early %d " % n + b"x" * 1500 for n in range(5)] + [b"the cause"])
    assert len(text) <= 4096
    assert text.splitlines()[2].startswith("  early 3")
    assert text.endswith("\n  the cause")
    text = last_word("web ended", 3, "web", [b"early", b"x" * 5000 + b" the cause"])
    assert len(text) == 4096
    assert "early" not in text
    assert text.endswith("x the cause")


def test_a_progress_bar_is_shown_as_a_terminal_shows_it() -> None:
    """Of a line that overwrote itself the last state is shown."""
    text = last_word("web ended", 3, "web", [b" 10%\r 20%\r 30%", b"dos\r"])
    assert text.splitlines()[2:] == ["   30%", "  dos"]


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give a termination log of our own."""
    monkeypatch.setattr(exit_reason, "TERMINATION_LOG", str(tmp_path / "log"))
    return tmp_path / "log"


def test_the_log_is_replaced(log: Path) -> None:
    """What an earlier container left there goes."""
    log.write_text("earlier " * 100)
    write_termination_log("now")
    assert log.read_text() == "now"


def test_the_log_is_not_made(log: Path) -> None:
    """Where there is none, none is made."""
    write_termination_log("now")
    assert not log.exists()


def test_the_log_has_its_size(log: Path) -> None:
    """Kubernetes reads 4096 bytes."""
    log.touch()
    write_termination_log("x" * 10_000)
    assert log.stat().st_size == 4096


@pytest.mark.parametrize("kind", ["directory", "pipe"])
def test_an_odd_log_is_left_alone(log: Path, kind: str) -> None:
    """A directory, or a pipe that nobody reads, is neither an error nor a wait."""
    if kind == "pipe":
        os.mkfifo(log)
    else:
        log.mkdir()
    write_termination_log("now")
