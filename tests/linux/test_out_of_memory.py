"""Whom the kernel kills for want of memory is told from whom somebody else killed, in a cgroup of the test's own."""

import contextlib
import os
import sys
import time
from collections.abc import Iterator

import pytest

from cohabit.reactor.processes.cgroup import places
from linux.conftest import Start
from linux.run import AT_MOST_SECONDS, REPOSITORY, program, shell

SOURCE = os.path.join(REPOSITORY, "src")
LIMIT = 64 << 20
HOG = [sys.executable, "-I", "-S", "-c", "b'x' * (1 << 30)"]


@pytest.fixture
def small() -> Iterator[str]:
    """Give a memory cgroup below our own, with a limit; it is taken away when nobody is in it any more."""
    made = ""
    for controller, limit in (("", "memory.max"), ("memory", "memory.limit_in_bytes")):
        for base, _ in places(controller):
            directory = f"{base}/cohabit-test-{os.getpid()}"
            with contextlib.suppress(OSError):
                os.mkdir(directory)
                if not os.access(f"{directory}/{limit}", os.W_OK):
                    os.rmdir(directory)
                    continue
                with open(f"{directory}/{limit}", "w", encoding="ascii") as file:
                    file.write(str(LIMIT))
                made = directory
    if not made:
        pytest.skip("no memory cgroup can be made here")
    yield made
    deadline = time.monotonic() + AT_MOST_SECONDS
    while os.path.isdir(made):
        with contextlib.suppress(OSError):
            os.rmdir(made)
        assert time.monotonic() < deadline, f"somebody is still in {made}"


def test_out_of_memory_is_told(start: Start, small: str) -> None:
    """The kernel's kill is one; the next one, by somebody else, is none."""
    life = start(*program("oom_host.py", SOURCE, *HOG), setup=f"echo 0 > {small}/cgroup.procs")
    assert life.wait() == 0
    limit, first, second = life.out.decode().splitlines()
    assert limit == f"limit {LIMIT}"
    assert first == "Exited(service='web', code=137, orphans=False, out_of_memory=True)"
    assert second == "Exited(service='web', code=137, orphans=False, out_of_memory=False)"


def test_a_shell_s_word_for_it_counts_too(start: Start, small: str) -> None:
    """A shell whose command was killed ends with 137, like the command."""
    hog = " ".join(f'"{word}"' for word in HOG)
    life = start(*program("oom_host.py", SOURCE, *shell(f"{hog}; exit $?")), setup=f"echo 0 > {small}/cgroup.procs")
    assert life.wait() == 0
    assert "out_of_memory=True" in life.out.decode().splitlines()[1]
