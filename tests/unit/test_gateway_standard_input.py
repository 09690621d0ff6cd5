"""What is written to the standard input of a service."""

import os
import subprocess
from collections.abc import Iterator

import pytest

from cohabit.gateway import standard_input
from cohabit.gateway.standard_input import write_to_input


@pytest.fixture
def cat() -> Iterator["subprocess.Popen[bytes]"]:
    """A process with a pipe as its standard input."""
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        yield process
        process.kill()


def line_of(process: "subprocess.Popen[bytes]") -> bytes:
    """What it prints."""
    assert process.stdout is not None
    return process.stdout.readline()


def test_a_pipe(cat: "subprocess.Popen[bytes]") -> None:
    write_to_input(cat.pid, b"one\n")
    assert line_of(cat) == b"one\n"


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: it becomes another user")
def test_without_the_right_to_see_its_descriptors(
    cat: "subprocess.Popen[bytes]", monkeypatch: pytest.MonkeyPatch
) -> None:
    """A child does it as the user of the process; its errors are ours."""

    def refuse(_pid: int, _data: bytes) -> None:
        raise PermissionError

    monkeypatch.setattr(standard_input, "write_input", refuse)
    write_to_input(cat.pid, b"two\n")
    assert line_of(cat) == b"two\n"
    with pytest.raises(BlockingIOError):
        write_to_input(cat.pid, b"x" * 10_000_000)
    with subprocess.Popen(["sleep", "100"], stdin=subprocess.DEVNULL) as other:
        with pytest.raises(BrokenPipeError):
            write_to_input(other.pid, b"x")
        other.kill()
