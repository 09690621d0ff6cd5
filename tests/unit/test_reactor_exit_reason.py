"""The exit reason: one line, the last lines of the service that caused it, and the termination log."""

import os
from pathlib import Path

import pytest

from cohabit.reactor.logs import exit_reason
from cohabit.reactor.logs.exit_reason import exit_reason_text, write_termination_log


def test_without_a_cause_it_is_one_line() -> None:
    """For example a requested stop."""
    assert exit_reason_text("stopped by SIGTERM", 0, "", [b"noise"]) == "stopped by SIGTERM: exit code 0"


def test_the_last_lines_of_the_cause_are_included() -> None:
    """At most ten lines, with any bytes in them."""
    text = exit_reason_text("web ended", 3, "web", [b"line %d" % n for n in range(15)] + [b"\xff\0"])
    lines = text.splitlines()
    assert lines[:3] == ["web ended: exit code 3", "last output of web:", "  line 6"]
    assert len(lines) == 12
    assert lines[-1] == "  \ufffd\0"


def test_what_does_not_fit_is_cut_at_the_beginning() -> None:
    """The earlier lines are left out, or the beginning of a long line."""
    text = exit_reason_text("web ended", 3, "web", [b"early %d " % n + b"x" * 1500 for n in range(5)] + [b"the cause"])
    assert len(text) <= 4096
    assert text.splitlines()[2].startswith("  early 3")
    assert text.endswith("\n  the cause")
    text = exit_reason_text("web ended", 3, "web", [b"early", b"x" * 5000 + b" the cause"])
    assert len(text) == 4096
    assert "early" not in text
    assert text.endswith("x the cause")


def test_a_progress_bar_shows_its_last_state() -> None:
    """As a terminal shows a line that overwrites itself."""
    text = exit_reason_text("web ended", 3, "web", [b" 10%\r 20%\r 30%", b"dos\r"])
    assert text.splitlines()[2:] == ["   30%", "  dos"]


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A termination log for this test."""
    monkeypatch.setattr(exit_reason, "TERMINATION_LOG", str(tmp_path / "log"))
    return tmp_path / "log"


def test_the_termination_log_is_replaced(log: Path) -> None:
    """The text of an earlier container is overwritten."""
    log.write_text("earlier " * 100)
    write_termination_log("now")
    assert log.read_text() == "now"


def test_the_termination_log_is_not_created(log: Path) -> None:
    """It is written only where it exists."""
    write_termination_log("now")
    assert not log.exists()


def test_the_termination_log_is_limited_to_4096_bytes(log: Path) -> None:
    """Kubernetes reads no more."""
    log.touch()
    write_termination_log("x" * 10_000)
    assert log.stat().st_size == 4096


@pytest.mark.parametrize("kind", ["directory", "pipe"])
def test_a_termination_log_that_is_not_a_file_is_ignored(log: Path, kind: str) -> None:
    """A directory, or a pipe without a reader, causes neither an error nor a wait."""
    if kind == "pipe":
        os.mkfifo(log)
    else:
        log.mkdir()
    write_termination_log("now")
