"""The kernel's count of out-of-memory kills, and the memory limit; tests/linux has a real one."""

import pytest

from cohabit.reactor import linux
from cohabit.reactor.processes.oom import OutOfMemory, memory_limit

V2 = "31 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup rw,nsdelegate\n"
V1 = "35 31 0:32 /docker/12ab /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
OTHER_V1 = "33 31 0:30 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct\n"


class Files(dict[str, str]):
    """Stands for /proc and /sys: path -> text."""

    def read(self, path: str) -> bytes:
        """Replaces proc.read."""
        return self.get(path, "").encode()

    def access(self, path: str, _mode: int) -> bool:
        """Replaces os.access."""
        return path in self


@pytest.fixture
def files(monkeypatch: pytest.MonkeyPatch) -> Files:
    """Give a machine with cgroups of version 2 only."""
    files = Files({"/proc/self/cgroup": "0::/\n", "/proc/self/mountinfo": V2})
    monkeypatch.setattr("cohabit.reactor.processes.proc.read", files.read)
    monkeypatch.setattr(linux.os, "access", files.access)
    return files


@pytest.fixture
def version_1(files: Files) -> Files:
    """Give a machine with both versions, with the memory controller in version 1, as a container sees it."""
    files["/proc/self/cgroup"] = "5:cpu,cpuacct:/docker/12ab\n4:memory:/docker/12ab\n1:name=x:/\n0::/docker/12ab\n"
    files["/proc/self/mountinfo"] = OTHER_V1 + V1 + V2
    return files


def test_kill_is_reported_once(files: Files) -> None:
    """The first call after the kernel killed a process returns True, the next one False."""
    path = "/sys/fs/cgroup/memory.events"
    files[path] = "low 0\nhigh 0\nmax 812\noom 7\noom_kill 3\noom_group_kill 0\n"
    memory = OutOfMemory()
    assert not memory.killed_one()
    files[path] = files[path].replace("oom_kill 3", "oom_kill 4")
    assert memory.killed_one()
    assert not memory.killed_one()


def test_version_1_is_counted(version_1: Files) -> None:
    """The count is in the hierarchy of the controller, below its mounted part."""
    version_1["/sys/fs/cgroup/memory/memory.oom_control"] = "oom_kill_disable 0\nunder_oom 0\noom_kill 0\n"
    memory = OutOfMemory()
    version_1["/sys/fs/cgroup/memory/memory.oom_control"] = "oom_kill_disable 0\nunder_oom 0\noom_kill 1\n"
    assert memory.killed_one()


def test_missing_count_means_no_kill(files: Files) -> None:
    """The root cgroup has no count, and neither has a system without /proc."""
    assert not OutOfMemory().killed_one()
    files.clear()
    assert not OutOfMemory().killed_one()
    assert memory_limit() is None


@pytest.mark.parametrize(("text", "limit"), [("67108864\n", 67_108_864), ("max\n", None), ("", None)])
def test_limit_of_version_2(files: Files, text: str, limit: int | None) -> None:
    """A number of bytes, or no limit."""
    files["/sys/fs/cgroup/memory.max"] = text
    assert memory_limit() == limit


@pytest.mark.parametrize(("text", "limit"), [("268435456\n", 268_435_456), ("9223372036854771712\n", None)])
def test_limit_of_version_1(version_1: Files, text: str, limit: int | None) -> None:
    """In version 1, a very large number means no limit."""
    version_1["/sys/fs/cgroup/memory/memory.limit_in_bytes"] = text
    assert memory_limit() == limit
