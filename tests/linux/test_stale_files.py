"""remove_before_start: files of an earlier run are removed with the rights of the service, and only these."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from cohabit.reactor.processes import stale_files
from linux.conftest import Start
from linux.run import shell

USER = 12345


@pytest.fixture
def place(namespaces: None, tmp_path: Path) -> Iterator[Path]:
    """A directory below directories of root."""
    del namespaces
    directory = Path("/run") / f"stale-{os.getpid()}-{tmp_path.name}"
    directory.mkdir()
    yield directory
    os.system(f"rm -rf {directory}")  # noqa: S605 - our own name


def test_it_is_removed_before_each_start(up: Start, place: Path) -> None:
    """A pid file that is there before the first start, and one that a crash left, are removed."""
    path = place / "pid"
    path.write_text("1\n")
    run = up(
        {
            "web": {
                "command": shell(f"test ! -e {path} || exit 9; echo $$ > {path}; echo clean; exec sleep 1000"),
                "remove_before_start": [str(path), str(place / "missing" / "pid")],
                "restart": "always",
            }
        }
    )
    run.until_printed("clean")
    os.kill(run.one("sleep 1000").pid, 9)
    run.until_printed("clean", 2)
    assert run.stop() == 0
    assert "exit code 9" not in run.text


def test_sockets_and_links_themselves_are_removed(place: Path) -> None:
    """A link is removed, not what it leads to. Directories stay."""
    target, link, own = place / "target", place / "link", place / "socket"
    target.write_text("keep")
    link.symlink_to(target)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(own))
    stale_files.remove([str(link), str(own), str(place / "none")])
    assert sorted(path.name for path in place.iterdir()) == ["target"]
    with pytest.raises(OSError, match="directory or a device"):
        stale_files.remove([str(place)])


def test_root_removes_nothing_where_others_can_change_the_path(place: Path) -> None:
    """A directory that a user owns could be replaced by a link to one of root; so could a directory below it."""
    secret = place / "secret"
    secret.mkdir()
    (secret / "pid").write_text("keep")
    users = place / "users"
    users.mkdir()
    os.chown(users, USER, USER)
    (users / "pid").write_text("x")
    (users / "link").symlink_to(secret)
    for path in (users / "pid", users / "link" / "pid"):
        with pytest.raises(OSError, match=f"user {USER} can change"):
            stale_files.remove([str(path)])
    assert (secret / "pid").exists()


def test_in_a_sticky_directory_root_removes_its_own_file_only(place: Path) -> None:
    """As in /tmp: a lock file of another user is not removed."""
    place.chmod(0o1777)
    (place / "own").write_text("x")
    (place / "foreign").write_text("x")
    os.chown(place / "foreign", USER, USER)
    stale_files.remove([str(place / "own")])
    with pytest.raises(OSError, match=f"belongs to user {USER}"):
        stale_files.remove([str(place / "foreign")])
    assert [path.name for path in place.iterdir()] == ["foreign"]


def test_a_service_removes_with_its_own_rights(up: Start, place: Path) -> None:
    """As another user, it removes what that user may remove; else it does not start, and the log says why."""
    users = place / "users"
    users.mkdir()
    os.chown(users, USER, USER)
    (users / "pid").write_text("x")
    (place / "pid").write_text("x")
    command, user = ["echo", "it runs"], str(USER)
    run = up(
        {
            "good": {
                "command": command,
                "user": user,
                "remove_before_start": [str(users / "pid")],
                "essential": False,
            },
            "bad": {"command": ["sleep", "1000"], "user": user, "remove_before_start": [str(place / "pid")]},
        }
    )
    assert run.wait() != 0
    assert f"bad: cannot start: cannot remove its stale files: {place}/pid: Permission denied" in run.text
    assert not (users / "pid").exists()
    assert (place / "pid").exists()
