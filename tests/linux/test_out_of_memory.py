"""A kill by the kernel's OOM killer is distinguished from other kills, in a memory cgroup of the test."""

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
    """Give a memory cgroup below the current one, with a limit; it is removed when it is empty."""
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
        assert time.monotonic() < deadline, f"{made} is not empty"


def test_out_of_memory_is_reported(start: Start, small: str) -> None:
    """The kill by the kernel is reported as out of memory; the next one, by another process, is not."""
    run = start(*program("oom_host.py", SOURCE, *HOG), setup=f"echo 0 > {small}/cgroup.procs")
    assert run.wait() == 0
    limit, first, second = run.out.decode().splitlines()
    assert limit == f"limit {LIMIT}"
    assert first == "Exited(service='web', code=137, orphans=False, out_of_memory=True, by_signal=True)"
    assert second == "Exited(service='web', code=137, orphans=False, out_of_memory=False, by_signal=True)"


def test_exit_code_137_of_a_shell_counts_too(start: Start, small: str) -> None:
    """A shell whose command was OOM-killed exits with 137, which counts like the command's own death."""
    hog = " ".join(f'"{word}"' for word in HOG)
    run = start(*program("oom_host.py", SOURCE, *shell(f"{hog}; exit $?")), setup=f"echo 0 > {small}/cgroup.procs")
    assert run.wait() == 0
    assert "out_of_memory=True" in run.out.decode().splitlines()[1]
