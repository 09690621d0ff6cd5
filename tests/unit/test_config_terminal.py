"""config/text/terminal.py: long lines on a terminal, and whole ones elsewhere."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import subprocess
import termios
from typing import TYPE_CHECKING

import pytest

from cohabit.config.text.terminal import wrapped
from cohabit.program import packed, program

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LONG = "cohabit.yaml:2: services.db: unknown key 'comand' (did you mean 'command'?)\n        why: a b\n\n"


@pytest.fixture
def terminal() -> Iterator[tuple[int, int]]:
    """Both ends of a terminal of 40 columns."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("4H", 24, 40, 0, 0))
    yield ours, theirs
    os.close(ours)
    os.close(theirs)


def test_lines_are_broken_at_words(terminal: tuple[int, int]) -> None:
    """Below their own beginning; a longer word stays whole."""
    assert wrapped(LONG, terminal[1]) == (
        "cohabit.yaml:2: services.db: unknown key\n  'comand' (did you mean 'command'?)\n        why: a b\n\n"
    )
    assert wrapped("x" * 50 + " y\n", terminal[1]) == "x" * 50 + "\n  y\n"


def test_elsewhere_nothing_changes(terminal: tuple[int, int]) -> None:
    """A pipe, and a terminal that is too narrow for words."""
    reader, writer = os.pipe()
    assert wrapped(LONG, writer) == LONG
    os.close(reader)
    os.close(writer)
    fcntl.ioctl(terminal[1], termios.TIOCSWINSZ, struct.pack("4H", 24, 10, 0, 0))
    assert wrapped(LONG, terminal[1]) == LONG


def test_check_wraps_on_a_terminal(terminal: tuple[int, int], tmp_path: Path) -> None:
    """Its diagnostics and its last lines."""
    (tmp_path / "cohabit.yaml").write_text("services: {db: {command: sleep 100}}\n")
    argv = program("loader", "check", packed({"files": ["cohabit.yaml"]}))
    subprocess.run(argv, stdout=terminal[1], cwd=tmp_path, check=True)
    lines = os.read(terminal[0], 4096).decode().splitlines()
    assert max(map(len, lines)) <= 40
    assert lines[-1] == "cohabit.yaml: valid: 1 service (db)"
