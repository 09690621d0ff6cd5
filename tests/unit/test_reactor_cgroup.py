"""Places and names of cgroups; tests/linux tests cgroups on a real kernel."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cohabit.reactor.processes import proc
from cohabit.reactor.processes.cgroup import decode, encode, places

LINE = "41 31 0:38 {root} {point} rw,relatime shared:5 - cgroup2 cgroup2 rw,nsdelegate"
OTHERS = (
    "22 1 8:1 / / rw - ext4 /dev/sda1 rw\n"
    "32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n"
    "33 31 0:30 / /srv/cgroup2 rw - tmpfs cgroup2 rw\n"
)


def _places(monkeypatch: pytest.MonkeyPatch, ours: str, *mounts: tuple[str, str]) -> list[tuple[str, str]]:
    lines = OTHERS + "\n".join(LINE.format(root=root, point=point) for root, point in mounts) + "\n"
    monkeypatch.setattr(proc, "cgroup", lambda pid, controller="": {("self", ""): ours}[pid, controller])
    monkeypatch.setattr(proc, "read", {"/proc/self/mountinfo": lines.encode()}.__getitem__)
    return places()


@pytest.mark.parametrize(
    ("ours", "root", "point", "directory"),
    [
        ("/", "/", "/sys/fs/cgroup", "/sys/fs/cgroup"),
        ("/", "/", "/sys/fs/cgroup/unified", "/sys/fs/cgroup/unified"),
        ("/system.slice/us", "/", "/sys/fs/cgroup", "/sys/fs/cgroup/system.slice/us"),
        ("/docker/12ab", "/docker/12ab", "/sys/fs/cgroup", "/sys/fs/cgroup"),
        ("/docker/12ab/inner", "/docker/12ab", "/sys/fs/cgroup", "/sys/fs/cgroup/inner"),
        ("/a", "/", "/with\\040space\\134", "/with space\\/a"),
    ],
)
def test_own_cgroup_is_found_below_its_mount(
    monkeypatch: pytest.MonkeyPatch, ours: str, root: str, point: str, directory: str
) -> None:
    """Our cgroup is found below the mount, also if only a part of the hierarchy is mounted."""
    assert _places(monkeypatch, ours, (root, point)) == [(directory, ours.rstrip("/"))]


@pytest.mark.parametrize(
    ("ours", "root"),
    [
        ("/docker/12ab", "/docker/12"),
        ("/docker/12ab", "/podman"),
        ("/", "/.."),
        ("/../other", "/"),
        ("/../..", "/../.."),
        ("", "/"),
    ],
)
def test_mount_without_our_cgroup_is_not_used(monkeypatch: pytest.MonkeyPatch, ours: str, root: str) -> None:
    """A mount that does not contain our own cgroup, or only above our namespace, is not used."""
    assert _places(monkeypatch, ours, (root, "/sys/fs/cgroup")) == []


def test_controller_selects_its_mount_of_version_1(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a controller, the mount of that controller is used, also if it is shared with others."""
    mounts = OTHERS + "34 31 0:30 /us /sys/fs/cgroup/mem rw - cgroup cgroup rw,cpuacct,memory\n" + LINE
    text = "4:cpu:/us\n3:name=memory:/no\n2:cpuacct,memory:/us/inner\n0::/new\n"
    files = {"/proc/self/mountinfo": mounts.format(root="/", point="/sys/fs/cgroup"), "/proc/self/cgroup": text}
    monkeypatch.setattr(proc, "read", lambda path: files[path].encode())
    assert places("memory") == [("/sys/fs/cgroup/mem/inner", "/us/inner")]
    assert places("cpu") == [("/sys/fs/cgroup/cpu/us", "/us")]
    assert places() == [("/sys/fs/cgroup/new", "/new")]
    assert places("pids") == []


def test_newest_mount_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of several mounts the newest is tried first: it may cover the others."""
    found = _places(monkeypatch, "/a", ("/", "/old"), ("/", "/new"))
    assert found == [("/new/a", "/a"), ("/old/a", "/a")]


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("web", "web"),
        ("web-2", "web-2"),
        ("web\0probe", "web%00probe"),
        ("a.b", "a%2Eb"),
        ("é", "%C3%A9"),
        ("%", "%25"),
    ],
)
def test_key_is_encoded_as_a_directory_name(key: str, name: str) -> None:
    """Most names do not change. A dot is encoded, because a service may be named cgroup.kill."""
    assert encode(key) == name
    assert decode(name) == key


@given(st.text())
def test_every_key_survives_encoding(key: str) -> None:
    """Any key becomes a name of plain characters, and decoding returns the key."""
    name = encode(key)
    assert decode(name) == key
    assert name.isascii()
    assert not set(name) & {"/", ".", "\n", "\0", ":", "="}


@given(st.text(alphabet="%0aAfGé.-_w"))
def test_invalid_name_has_no_key(name: str) -> None:
    """A forged name has no key, unless it is exactly the name that `encode` would return."""
    key = decode(name)
    assert key is None or encode(key) == name
