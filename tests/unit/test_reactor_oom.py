"""How many the kernel killed for want of memory, and how much there is; a real one is in tests/linux."""

import pytest

from cohabit.reactor import linux
from cohabit.reactor.processes.oom import OutOfMemory, memory_limit

V2 = "31 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup rw,nsdelegate\n"
V1 = "35 31 0:32 /docker/12ab /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
OTHER_V1 = "33 31 0:30 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct\n"


class Files(dict[str, str]):
    """Stand for /proc and /sys: path -> text."""

    def read(self, path: str) -> bytes:
        """As proc.read."""
        return self.get(path, "").encode()

    def access(self, path: str, _mode: int) -> bool:
        """As os.access."""
        return path in self


@pytest.fixture
def files(monkeypatch: pytest.MonkeyPatch) -> Files:
    """Give a machine with version 2 only."""
    files = Files({"/proc/self/cgroup": "0::/\n", "/proc/self/mountinfo": V2})
    monkeypatch.setattr("cohabit.reactor.processes.proc.read", files.read)
    monkeypatch.setattr(linux.os, "access", files.access)
    return files


@pytest.fixture
def version_1(files: Files) -> Files:
    """Give a machine with both, where memory is in version 1, as a container sees it."""
    files["/proc/self/cgroup"] = "5:cpu,cpuacct:/docker/12ab\n4:memory:/docker/12ab\n1:name=x:/\n0::/docker/12ab\n"
    files["/proc/self/mountinfo"] = OTHER_V1 + V1 + V2
    return files


def test_growth_is_told_once(files: Files) -> None:
    """Whoever asks after the kernel killed one hears of it; the next one does not."""
    path = "/sys/fs/cgroup/memory.events"
    files[path] = "low 0\nhigh 0\nmax 812\noom 7\noom_kill 3\noom_group_kill 0\n"
    memory = OutOfMemory()
    assert not memory.killed_one()
    files[path] = files[path].replace("oom_kill 3", "oom_kill 4")
    assert memory.killed_one()
    assert not memory.killed_one()


def test_version_1_counts_too(version_1: Files) -> None:
    """In the hierarchy of the controller, below what of it is mounted."""
    version_1["/sys/fs/cgroup/memory/memory.oom_control"] = "oom_kill_disable 0\nunder_oom 0\noom_kill 0\n"
    memory = OutOfMemory()
    version_1["/sys/fs/cgroup/memory/memory.oom_control"] = "oom_kill_disable 0\nunder_oom 0\noom_kill 1\n"
    assert memory.killed_one()


def test_nothing_to_see_is_no_kill(files: Files) -> None:
    """In the root cgroup, or without a /proc, nobody counts."""
    assert not OutOfMemory().killed_one()
    files.clear()
    assert not OutOfMemory().killed_one()
    assert memory_limit() is None


@pytest.mark.parametrize(("text", "limit"), [("67108864\n", 67_108_864), ("max\n", None), ("", None)])
def test_limit(files: Files, text: str, limit: int | None) -> None:
    """A number of bytes, or no limit."""
    files["/sys/fs/cgroup/memory.max"] = text
    assert memory_limit() == limit


@pytest.mark.parametrize(("text", "limit"), [("268435456\n", 268_435_456), ("9223372036854771712\n", None)])
def test_limit_of_version_1(version_1: Files, text: str, limit: int | None) -> None:
    """There, no limit is a number that no machine has."""
    version_1["/sys/fs/cgroup/memory/memory.limit_in_bytes"] = text
    assert memory_limit() == limit
