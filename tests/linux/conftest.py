"""Fixtures of the tests on the real kernel: the namespaces and the two modes (process 1 and not process 1).

The tests need root. Without it they are skipped with the reason; with CI=true they fail instead.
"""

import contextlib
import itertools
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from linux.run import COHABIT, MAIN, NAMESPACES, REPOSITORY, Run, write_file

Start = Callable[..., Run]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test in this directory with `linux`."""
    here = os.path.dirname(os.path.abspath(__file__))
    for item in items:
        if str(item.path).startswith(here + os.sep):
            item.add_marker(pytest.mark.linux)


@pytest.fixture(scope="session")
def namespaces() -> None:
    """Skip if namespaces cannot be created; on CI fail."""
    if shutil.which("unshare") is None:
        why = "no unshare (apt-get install util-linux)"
    else:
        tried = subprocess.run([*NAMESPACES, "true"], stderr=subprocess.PIPE, text=True, check=False)
        if tried.returncode == 0:
            return
        why = f"namespaces need root: {tried.stderr.strip()}"
    if os.environ.get("CI") == "true":
        pytest.fail(f"CI=true and the tests on the real kernel cannot run: {why}", pytrace=False)
    pytest.skip(why)


@pytest.fixture
def start(namespaces: None, tmp_path: object) -> Iterator[Start]:
    """Give the function that runs a command in new namespaces until the test ends."""
    del namespaces
    with ExitStack() as stack:
        yield lambda *arguments, **options: stack.enter_context(Run(*arguments, **{"cwd": tmp_path, **options}))


@pytest.fixture
def init(start: Start) -> Start:
    """Give the function that runs `cohabit init` with these arguments."""
    return lambda *arguments, **options: start(*COHABIT, "init", *arguments, **options)


@pytest.fixture
def run(start: Start) -> Start:
    """Give the function that runs `cohabit run` with these arguments."""
    return lambda *arguments, **options: start(*COHABIT, "run", *arguments, **options)


@pytest.fixture
def up(start: Start, tmp_path: object) -> Start:
    """Give the function that runs `cohabit up` with these services. `top`: other top-level keys of the file."""

    def up(services: dict[str, dict[str, object]], *arguments: str, **options: object) -> Run:
        top = options.pop("top", {})
        assert isinstance(top, dict)
        file = write_file(str(tmp_path), services, **top)
        return start(*COHABIT, "up", "-f", file, *arguments, **options)

    return up


@pytest.fixture(params=[True, False], ids=["process 1", "not process 1"])
def process_1(request: pytest.FixtureRequest) -> bool:
    """Run the test in both modes: as process 1, then not as process 1.

    For what the kernel treats differently: signals, orphans, terminals, the end. A start takes 0.3 s of a processor.
    """
    return bool(request.param)


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Give the sh script as it is installed: next to an interpreter, above site-packages."""
    prefix = tmp_path_factory.mktemp("prefix")
    packages = prefix / "lib" / f"python3.{sys.version_info[1]}" / "site-packages"
    packages.mkdir(parents=True)
    (prefix / "bin").mkdir()
    (packages / "cohabit").symlink_to(os.path.dirname(MAIN))
    (prefix / "bin" / "python3").symlink_to(os.path.realpath(sys.executable))
    shutil.copy(os.path.join(REPOSITORY, "bin", "cohabit"), prefix / "bin" / "cohabit")
    return str(prefix / "bin" / "cohabit")


class Gate:
    """A named pipe `gate` in the test's directory. A process that reads from it waits until the test opens it."""

    def __init__(self, directory: str) -> None:
        self.path = os.path.join(directory, "gate")
        os.mkfifo(self.path, 0o666)
        self._fd = os.open(self.path, os.O_RDWR | os.O_NONBLOCK)

    def open(self, times: int = 1) -> None:
        """Release one reader of a line, or several."""
        os.write(self._fd, b"\n" * times)

    def close(self) -> None:
        """Close the pipe."""
        os.close(self._fd)


@pytest.fixture
def gate(tmp_path: os.PathLike[str]) -> Iterator[Gate]:
    """Give a gate that is closed until the test opens it."""
    gate = Gate(os.fspath(tmp_path))
    yield gate
    gate.close()


# Below the kernel's range of ephemeral ports. Each test process starts at a different number.
_PORTS = itertools.count(10_000 + os.getpid() * 100 % 20_000)


@pytest.fixture
def port() -> int:
    """Give a TCP port of the loopback interface that is not in use, a new one each time."""
    while True:
        port = next(_PORTS)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
