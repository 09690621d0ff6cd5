"""paths.py: the classification of directories, and what is opened in one that other users can change."""

import os
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cohabit import paths

NOBODY = 65534
root = pytest.mark.skipif(os.geteuid() != 0, reason="changes the owner of files: needs root")


@pytest.fixture(autouse=True)
def descriptors() -> Iterator[None]:
    """Check that no descriptor leaks."""
    before = os.listdir("/proc/self/fd")
    yield
    assert set(os.listdir("/proc/self/fd")) == set(before)


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    """A world-writable directory without the sticky bit."""
    return directory(tmp_path / "shared", 0o777)


def directory(path: Path, mode: int, uid: int = -1) -> Path:
    """Make a directory."""
    path.mkdir()
    path.chmod(mode)
    os.chown(path, uid, -1)
    return path


def append(path: Path | str) -> None:
    """Append a line, as a log driver does."""
    place, fd = paths.open_to_append(str(path), mode=0o644, directory_mode=0o755)
    os.write(fd, b"line\n")
    os.close(fd)
    place.close()


def read(path: Path | str) -> bytes:
    """Read a file with open_to_read."""
    fd, _ = paths.open_to_read(str(path))
    with open(fd, "rb") as file:
        return file.read()


def refused(path: Path | str, what: str, how: object = append) -> None:
    """Check that appending (or reading) is refused with this message."""
    with pytest.raises(OSError, match=what) as caught:
        how(path)  # type: ignore[operator]
    assert caught.value.strerror
    assert caught.value.filename


# --- classification --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "private", "sticky"),
    [(0o755, True, False), (0o700, True, False), (0o775, False, False), (0o777, False, False), (0o1777, False, True)],
)
def test_a_directory_is_classified_by_its_mode(tmp_path: Path, mode: int, private: bool, sticky: bool) -> None:
    """A directory that others may write to is not private; with the sticky bit its path is stable."""
    with paths.locate(f"{directory(tmp_path / 'd', mode)}/x") as place:
        assert (place.private, place.sticky, place.fixed) == (private, sticky, True)
        assert bool(place.weak) is not private


@root
def test_a_directory_is_classified_by_its_owner(tmp_path: Path) -> None:
    """The owner of a directory can change it and everything below it."""
    own = directory(tmp_path / "own", 0o755, NOBODY)
    with paths.locate(f"{own}/x") as place:
        assert (place.private, place.fixed, place.owner) == (False, True, NOBODY)
        assert place.weak == f"user {NOBODY} can change {own}"
    below = directory(own / "below", 0o755)
    with paths.locate(f"{below}/x") as place:
        assert (place.private, place.fixed) == (False, False)
        assert place.weak == f"user {NOBODY} can change {own}"


def test_our_directory_in_a_sticky_directory_is_private(tmp_path: Path) -> None:
    """No other user can move it; in a directory without the sticky bit any user can."""
    for mode, private in ((0o1777, True), (0o777, False)):
        above = directory(tmp_path / f"{mode:o}", mode)
        assert paths.is_private(f"{directory(above / 'ours', 0o755)}/x") is private


@root
def test_a_directory_of_another_user_in_a_sticky_directory_is_not_private(tmp_path: Path) -> None:
    """That user can move it."""
    above = directory(tmp_path / "sticky", 0o1777)
    own = directory(above / "own", 0o755, NOBODY)
    with paths.locate(f"{own}/x") as place:
        assert (place.private, place.fixed, place.weak) == (False, False, f"user {NOBODY} can change {own}")


def test_who_can_change_names_group_or_any_user(tmp_path: Path) -> None:
    """For a missing directory the nearest existing parent counts."""
    group = directory(tmp_path / "group", 0o775)
    assert paths.who_can_change(str(group)) == f"group {os.getegid()} can change {group}"
    world_writable = directory(tmp_path / "all", 0o777)
    assert paths.who_can_change(f"{world_writable}/a/b") == f"any user can change {world_writable}"
    assert paths.who_can_change(str(tmp_path)) == ""


# --- resolution ------------------------------------------------------------------------------------------


def test_links_in_private_directories_are_followed(tmp_path: Path) -> None:
    """Relative and absolute ones, with `..`, and as the last component."""
    real = directory(tmp_path / "real", 0o755)
    (real / "file").write_text("text")
    (tmp_path / "absolute").symlink_to(real)
    (tmp_path / "relative").symlink_to("./real/../real/")
    (tmp_path / "last").symlink_to("relative/file")
    for path in ("absolute/file", "relative/file", "last", "real//./file", "real/../last"):
        with paths.locate(f"{tmp_path}/{path}") as place:
            assert (place.path, place.private) == (str(real / "file"), True)
        assert read(tmp_path / path) == b"text"


def test_a_relative_path_starts_at_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in the kernel."""
    monkeypatch.chdir(tmp_path)
    with paths.locate("x") as place:
        assert place.path == str(tmp_path / "x")


def test_links_that_other_users_can_change_are_not_followed(tmp_path: Path, shared: Path) -> None:
    """Neither on the way nor as the last component, with and without the sticky bit."""
    secret = tmp_path / "secret"
    secret.write_text("root's")
    secret.chmod(0o600)
    sticky = directory(tmp_path / "sticky", 0o1777)
    for open_to_others in (shared, sticky):
        (open_to_others / "file").symlink_to(secret)
        (open_to_others / "way").symlink_to(tmp_path)
        refused(open_to_others / "file", "it is a link, and any user can change")
        refused(open_to_others / "file", "it is a link, and any user can change", read)
        refused(open_to_others / "way/secret", "way in it is a link, and any user can change")
        refused(open_to_others / "way/secret", "way in it is a link", read)
        assert "is a link" in paths.who_can_change(f"{open_to_others}/way")
    assert secret.read_text() == "root's"


def test_a_dangling_link_creates_no_file(tmp_path: Path, shared: Path) -> None:
    """Otherwise a user could create a file in a directory of root."""
    (shared / "file").symlink_to(tmp_path / "made")
    refused(shared / "file", "it is a link")
    assert not (tmp_path / "made").exists()


def test_unresolvable_paths_are_errors(tmp_path: Path) -> None:
    """A link cycle, a file on the way, a missing directory, the root directory."""
    (tmp_path / "cycle").symlink_to("cycle")
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "cycle", tmp_path / "file" / "x", tmp_path / "missing" / "x", Path("/")):
        with pytest.raises(OSError, match=r"Too many|Not a dir|No such|Is a dir"):
            paths.locate(str(path))


def test_an_open_file_is_found_by_its_descriptor(tmp_path: Path) -> None:
    """/proc/self/fd/N is a magic link: its target is not a path."""
    path = tmp_path / "out"
    with open(path, "wb") as file:
        append(f"/proc/self/fd/{file.fileno()}")
        (tmp_path / "own").symlink_to(f"/proc/self/fd/{file.fileno()}")
        append(tmp_path / "own")
        path.unlink()
        append(f"/proc/self/fd/{file.fileno()}")
        assert os.fstat(file.fileno()).st_size == 15
    reader, writer = os.pipe()
    refused(f"/proc/self/fd/{writer}", "it is not a regular file")
    os.close(reader)
    os.close(writer)


# --- appending -------------------------------------------------------------------------------------------


def test_directories_and_the_file_are_created(tmp_path: Path, shared: Path) -> None:
    """With the given modes less our umask, in any directory."""
    before = os.umask(0o027)
    try:
        for above in (tmp_path, shared):
            append(above / "a" / "b" / "file")
            assert stat.S_IMODE((above / "a" / "b").stat().st_mode) == 0o750
            assert stat.S_IMODE((above / "a" / "b" / "file").stat().st_mode) == 0o640
    finally:
        os.umask(before)


def test_a_hard_link_is_refused_where_other_users_can_create_one(tmp_path: Path, shared: Path) -> None:
    """In a private directory only root can have created it."""
    secret = tmp_path / "secret"
    secret.write_text("")
    os.link(secret, shared / "file")
    refused(shared / "file", "it has 2 names")
    os.link(secret, tmp_path / "other")
    append(tmp_path / "other")


@root
def test_a_file_of_a_third_user_is_refused(tmp_path: Path, shared: Path) -> None:
    """The file must belong to root, to our user or to the owner of the directory."""
    (shared / "file").write_text("")
    append(shared / "file")
    os.chown(shared / "file", NOBODY, -1)
    refused(shared / "file", f"it belongs to user {NOBODY}, and any user can change")
    own = directory(tmp_path / "own", 0o755, NOBODY)
    (own / "file").write_text("")
    os.chown(own / "file", NOBODY, -1)
    append(own / "file")
    os.chown(own / "file", NOBODY - 1, -1)
    refused(own / "file", f"it belongs to user {NOBODY - 1}, and user {NOBODY} can change")
    os.chown(tmp_path, -1, -1)
    append(tmp_path / "mine")
    os.chown(tmp_path / "mine", NOBODY, -1)
    append(tmp_path / "mine")


def test_only_a_regular_file_is_opened(tmp_path: Path, shared: Path) -> None:
    """A FIFO, a directory and a device are refused at once, without being opened."""
    for above in (tmp_path, shared):
        os.mkfifo(above / "fifo")
        (above / "directory").mkdir()
        for name in ("fifo", "directory"):
            refused(above / name, "it is not a regular file")
            refused(above / name, "it is not a regular file", read)
    refused("/dev/zero", "it is not a regular file", read)


def test_a_replacement_before_the_open_is_detected(
    tmp_path: Path, shared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A link, a hard link or another kind of file appears between the check and the open."""
    secret = tmp_path / "secret"
    secret.write_text("root's")
    real = paths.Place.look
    swaps: dict[str, Callable[[], None]] = {
        "link": lambda: (shared / "link").symlink_to(secret),
        "hard": lambda: os.link(secret, shared / "hard"),
        "directory": (shared / "directory").mkdir,
    }

    def look(place: paths.Place, name: str = "") -> os.stat_result | None:
        found = real(place, name)
        if found is None and place.name in swaps:
            swaps[place.name]()
        return found

    monkeypatch.setattr(paths.Place, "look", look)
    for name, what in (("link", "Too many levels"), ("hard", "it has 2 names"), ("directory", "Is a directory")):
        with pytest.raises(OSError, match=what):
            append(shared / name)
    assert secret.read_text() == "root's"


def test_listing_is_limited(tmp_path: Path) -> None:
    """At most names_max names are read."""
    for number in range(20):
        (tmp_path / str(number)).touch()
    with paths.locate(f"{tmp_path}/x") as place:
        assert sorted(place.listing(99), key=int) == [str(number) for number in range(20)]
        assert len(place.listing(5)) == 5


# --- reading ---------------------------------------------------------------------------------------------


@root
def test_a_file_is_read_only_if_the_user_who_can_choose_it_could_read_it(tmp_path: Path, shared: Path) -> None:
    """A file of the directory's owner or a world-readable one, but not one of root that may have been moved there."""
    own = directory(tmp_path / "own", 0o755, NOBODY)
    for above in (own, shared):
        (above / "file").write_text("text")
        (above / "file").chmod(0o600)
        refused(above / "file", "it is not readable by all users, and", read)
        (above / "file").chmod(0o644)
        assert read(above / "file") == b"text"
    (own / "file").chmod(0o600)
    os.chown(own / "file", NOBODY, -1)
    assert read(own / "file") == b"text"


@root
def test_a_link_of_a_user_is_followed_only_to_files_of_that_user(tmp_path: Path) -> None:
    """In a directory that this user owns."""
    own = directory(tmp_path / "own", 0o755, NOBODY)
    secret = tmp_path / "secret"
    secret.write_text("root's")
    for target in (own / "file", secret, tmp_path / "through"):
        link = own / f"to-{target.name}"
        link.symlink_to(target)
        os.chown(link, NOBODY, -1, follow_symlinks=False)
    (own / "file").write_text("text")
    (tmp_path / "through").symlink_to(own / "file")
    (own / "file").chmod(0o600)
    refused(own / "to-file", f"user {NOBODY} made a link to it, and it belongs to user 0", read)
    os.chown(own / "file", NOBODY, -1)
    assert read(own / "to-file") == read(own / "to-through") == b"text"
    refused(own / "to-secret", f"user {NOBODY} made a link to it, and it belongs to user 0", read)
    refused(own / "to-file", "it is a link")
    os.chown(own / "to-secret", 0, 0, follow_symlinks=False)
    refused(own / "to-secret", "it is a link", read)


def test_whether_a_file_is_trusted(tmp_path: Path, shared: Path) -> None:
    """Only root or our user can change or replace it; a pid file depends on this."""
    for above, mode, trusted in ((tmp_path, 0o644, True), (tmp_path, 0o664, False), (shared, 0o644, False)):
        (above / "pid").write_text("7\n")
        (above / "pid").chmod(mode)
        fd, found = paths.open_to_read(str(above / "pid"))
        os.close(fd)
        assert found is trusted


LEASE = """
import fcntl, os, signal, sys
fd = os.open(sys.argv[1], os.O_RDWR)
signal.signal(signal.SIGIO, signal.SIG_IGN)
fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_WRLCK)
print(flush=True)
signal.pause()
"""


def test_a_lease_does_not_block(tmp_path: Path) -> None:
    """The owner of a file may hold a lease on it; a blocking open would wait 45 seconds for its release."""
    path = tmp_path / "file"
    path.write_text("")
    with subprocess.Popen([sys.executable, "-I", "-S", "-c", LEASE, path], stdout=subprocess.PIPE) as holder:
        assert holder.stdout
        holder.stdout.readline()
        try:
            for how in (append, read):
                with pytest.raises(BlockingIOError):
                    how(path)
        finally:
            holder.kill()


VOLUME = """
set -e
mkdir "$1/..1"
(umask 377; echo text > "$1/..1/token")
ln -s ..1 "$1/..data"
ln -s ..data/token "$1/token"
mount --bind "$1" "$1"
mount -o remount,bind,ro "$1"
"""
READ_ALL = """
import os, sys
sys.path.append(sys.argv[1])
from cohabit import paths
fd, _ = paths.open_to_read(sys.argv[2])
print(os.read(fd, 99).decode().strip(), paths.is_private(sys.argv[2]))
"""


@root
def test_a_read_only_mount_is_private(tmp_path: Path) -> None:
    """Kubernetes mounts secrets like this: links in a directory of mode 1777."""
    volume = str(directory(tmp_path / "volume", 0o1777))
    source = str(Path(paths.__file__).parents[1])
    argv = [sys.executable, "-I", "-S", "-c", READ_ALL, source, f"{volume}/token"]
    script = f'{VOLUME}\nshift; exec "$@"'
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", script, "sh", volume, *argv], capture_output=True, text=True, check=False
    )
    if "not permitted" in done.stderr:
        pytest.skip(f"cannot mount here: {done.stderr.strip()}")
    assert (done.stdout, done.stderr) == ("text True\n", "")
    refused(f"{volume}/token", "it is a link", read)
